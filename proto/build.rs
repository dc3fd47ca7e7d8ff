//! Generates the Rust types of the contracts. protox stands in for `protoc`, so that nothing but cargo is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["client.proto", "cluster.proto", "login.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
