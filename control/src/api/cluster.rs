//! The Cluster service: the control plane about itself.
//!
//! Answers without etcd too: from what this process knows, and from whoever answers it.

use std::time::SystemTime;

use echo_proto::v1;
use tonic::{Request, Response, Status};
use v1::cluster_server::Cluster;

use super::Api;

#[tonic::async_trait]
impl Cluster for Api {
    async fn get_info(&self, _: Request<v1::GetInfoRequest>) -> Result<Response<v1::GetInfoResponse>, Status> {
        let leader = self.view.read(|state| state.leader.as_ref().map(|leader| leader.value.clone()));
        let leader = leader.unwrap_or_default();
        Ok(Response::new(v1::GetInfoResponse {
            cluster: self.about.cluster.clone(),
            version: echo_proto::VERSION.to_owned(),
            instance: self.about.instance.clone(),
            leader: leader.instance,
            leader_address: leader.address,
            etcd_endpoints: self.about.etcd.clone(),
            scaler: self.about.scaler.name().to_owned(),
            start_time: Some(self.about.started.into()),
            time: Some(SystemTime::now().into()),
            file_findings: if self.leadership.borrow().is_some() { self.file_findings() } else { Vec::new() },
            unable: self.current().err().map(|error| error.to_string()).unwrap_or_default(),
        }))
    }

    async fn diagnose(&self, _: Request<v1::DiagnoseRequest>) -> Result<Response<v1::DiagnoseResponse>, Status> {
        Ok(Response::new(v1::DiagnoseResponse { findings: self.diagnosis().await? }))
    }
}
