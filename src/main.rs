fn main() {
    if let Some(code) = lamplighter::ssh::askpass::if_asked() {
        std::process::exit(code);
    }
}
