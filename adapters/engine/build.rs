//! New and changed carriers are embedded at the next build: `include_dir!` alone does not notice new files.

fn main() {
    println!("cargo::rerun-if-changed=../carriers");
    println!("cargo::rerun-if-changed=../phrases");
}
