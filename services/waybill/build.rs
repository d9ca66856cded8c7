//! Leads two calls inside librdkafka through `src/librdkafka_leaders.rs`, which says why.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The linkers of Linux know `--wrap`; elsewhere the program goes without.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        for function in ["rd_kafkap_leader_discovery_set_topic", "rd_kafkap_leader_discovery_set_CurrentLeader"] {
            println!("cargo:rustc-link-arg-bins=-Wl,--wrap={function}");
        }
    }
}
