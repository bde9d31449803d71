//! Proxies that the environment names.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};

use super::world::World;

#[tokio::test]
async fn a_chain_on_this_machine_is_asked_by_no_proxy() {
    let world = World::new().await;
    // Nobody listens there.
    let dead = "http://127.0.0.1:9";
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}", world.anvil.port());
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            let output = world.lode_with(&[(name, dead)], &["chain", "info", "--rpc-url", &url]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name} {url}: {said}");
        }
    }
}

#[tokio::test]
async fn a_chain_elsewhere_is_asked_by_the_proxy_of_the_environment() {
    let world = World::new().await;
    for (variable, url, expected) in [
        ("http_proxy", "http://rpc.example:8545/key", "POST http://rpc.example:8545/key "),
        ("HTTPS_PROXY", "https://rpc.example/key", "CONNECT rpc.example:443 "),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = format!("http://{address}");
        let asked = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            line
        });
        let output = world.lode_with(&[(variable, &proxy)], &["chain", "info", "--rpc-url", url]);
        assert!(!output.status.success(), "nobody answered");
        // Ends the wait if nobody came.
        drop(TcpStream::connect(address));
        let line = asked.join().unwrap();
        assert!(line.starts_with(expected), "{line}");
    }
}
