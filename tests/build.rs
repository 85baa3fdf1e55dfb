//! Generates the stubs of `proto/etcd.proto`, both halves: the scripted etcd serves them, and its test against the real
//! one calls them. Needs `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    tonic_prost_build::configure()
        .compile_protos(&["proto/etcd.proto"], &["proto"])
        .map_err(|e| format!("protoc failed; `.ci/setup build` installs it: {e}"))?;
    Ok(())
}
