//! The other side of a program that runs for itself: a system that answers over plain HTTP.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread,
};

/// Answers every request, one after the other, with what `answer` makes of its head and body: status and JSON. Gives its address.
pub(super) fn serve(mut answer: impl FnMut(&str, &str) -> (u16, serde_json::Value) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            // Whoever goes away in the middle gets no answer.
            if head.is_empty() || reader.read_exact(&mut body).is_err() {
                continue;
            }
            let (status, said) = answer(&head, &String::from_utf8_lossy(&body));
            let said = said.to_string();
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}", said.len());
            let _ = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{said}").as_bytes());
        }
    });
    address
}
