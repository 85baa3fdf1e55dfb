//! Generates the messages and gRPC stubs of `echo/v1/*.proto` and their descriptor set. Needs `protoc`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=echo/v1");
    let mut files: Vec<PathBuf> = std::fs::read_dir("echo/v1")?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "proto"))
        .collect();
    files.sort();
    let mut config = tonic_prost_build::Config::new();
    // Sorted maps: the same message is the same bytes. Names: the codec finds a message's descriptor by them.
    config.btree_map(["."]).enable_type_names();
    tonic_prost_build::configure()
        .file_descriptor_set_path(PathBuf::from(std::env::var("OUT_DIR")?).join("echo_v1.bin"))
        .compile_with_config(config, &files, &[PathBuf::from(".")])
        .map_err(|e| format!("protoc failed; `.ci/setup build` installs it: {e}"))?;
    Ok(())
}
