//! Events as Suricata writes them, for measuring; nothing of them was recorded on anybody's network.

/// One event in four is of each kind; one in fifty an alert, as on a network with a few noisy rules.
pub(crate) fn line(n: u64) -> Vec<u8> {
    let (host, port) = (n % 200 + 1, n % 30_000 + 20_000);
    let head = format!(
        r#"{{"timestamp":"2026-11-25T17:56:43.{:06}+0000","flow_id":{},"in_iface":"eth1","src_ip":"10.0.0.{host}","src_port":{port},"dest_ip":"10.0.1.{}","#,
        n % 1_000_000,
        939_717_509_527_687 + n,
        n % 50 + 1,
    );
    let ether = r#""ether":{"src_mac":"72:12:db:47:55:fd","dest_mac":"0a:ef:e5:ee:9d:5a"}"#;
    let body = match (n % 50, n % 4) {
        (0, _) => format!(
            r#""event_type":"alert","dest_port":502,"proto":"TCP","pkt_src":"wire/pcap",{ether},"tx_id":0,"alert":{{"action":"allowed","gid":1,"signature_id":1000101,"rev":1,"signature":"WATCHPOST Modbus write to coils","category":"Misc activity","severity":3}},"modbus":{{"id":1,"request":{{"transaction_id":1,"protocol_id":0,"unit_id":1,"function_raw":5,"function_code":"WrSingleCoil","access_type":"WRITE | COILS | SINGLE | WRITE_SINGLE","category":"PUBLIC_ASSIGNED","error_flags":"NONE","write":{{"address":1,"data":65280}}}}}},"app_proto":"modbus","direction":"to_server","flow":{{"pkts_toserver":4,"pkts_toclient":3,"bytes_toserver":284,"bytes_toclient":218,"start":"2026-11-25T17:56:43.093427+0000"}},"payload":"AAEAAAAGAQUAAf8A","stream":1,"capture_file":"/var/lib/x/packets.pcap.1795629400""#
        ),
        (_, 0) => format!(
            r#""event_type":"dns","dest_port":53,"proto":"UDP","pkt_src":"wire/pcap",{ether},"dns":{{"version":2,"type":"answer","id":52795,"flags":"8180","qr":true,"rd":true,"ra":true,"opcode":0,"rrname":"host{host}.lab.test","rrtype":"A","rcode":"NOERROR","answers":[{{"rrname":"host{host}.lab.test","rrtype":"CNAME","ttl":60,"rdata":"other{host}.lab.test"}},{{"rrname":"other{host}.lab.test","rrtype":"A","ttl":60,"rdata":"10.0.2.{host}"}}],"grouped":{{"CNAME":["other{host}.lab.test"],"A":["10.0.2.{host}"]}}}}"#
        ),
        (_, 1) => format!(
            r#""event_type":"http","dest_port":80,"proto":"TCP","pkt_src":"wire/pcap",{ether},"tx_id":0,"http":{{"hostname":"web{host}.lab.test","url":"/some/longer/path/to/a/page?with=parameters&and=values","http_user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36","http_content_type":"text/html","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":18342}}"#
        ),
        _ => String::from(
            r#""event_type":"flow","dest_port":443,"proto":"TCP","app_proto":"tls","flow":{"pkts_toserver":12,"pkts_toclient":14,"bytes_toserver":1875,"bytes_toclient":9091,"start":"2026-11-25T17:56:43.092852+0000","end":"2026-11-25T17:56:53.092956+0000","age":10,"state":"closed","reason":"timeout","alerted":false},"ether":{"dest_macs":["0a:ef:e5:ee:9d:5a"],"src_macs":["72:12:db:47:55:fd"]},"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed","ts_max_regions":1,"tc_max_regions":1}"#,
        ),
    };
    format!("{head}{body}}}\n").into_bytes()
}
