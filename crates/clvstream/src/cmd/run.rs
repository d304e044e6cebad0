//! `clvstream run`.

use clap::Args;

/// `clvstream run`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Reads the input topics, keeps every customer's profile, and writes CLV updates, lifecycle transitions
and segment changes to the output topics, each exactly once. On SIGTERM or SIGINT it finishes what was
begun and exits 0; a second signal ends it at once, which loses nothing that was committed.

Metrics and health: http://127.0.0.1:9464/metrics, /livez, /readyz (`http.listen`).

Examples:
  clvstream run
  clvstream run --config shop.toml
  clvstream run --set partitions=16 --set data_dir=/var/lib/clvstream --log-format json")]
pub struct RunArgs {}
