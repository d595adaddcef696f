//! All of it is in the library, which tests and fuzz targets can link.

fn main() -> std::process::ExitCode {
    relinkd::run()
}
