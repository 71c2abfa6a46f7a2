//! Tells systemd how far a server is, where it was started by systemd and is waited for (`Type=notify`). There is none but on Linux.

#[cfg(target_os = "linux")]
use std::{
    env,
    ffi::OsStr,
    io,
    os::linux::net::SocketAddrExt,
    os::unix::ffi::OsStrExt,
    os::unix::net::{SocketAddr, UnixDatagram},
};

/// It takes requests.
pub(crate) const READY: &str = "READY=1";
/// It was told to stop.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Says it to whoever asked to be told; that nobody listens is no reason to serve nobody.
#[cfg(target_os = "linux")]
pub(crate) fn tell(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "systemd could not be told");
    }
}

/// Nobody asks.
#[cfg(not(target_os = "linux"))]
pub(crate) fn tell(_: &str) {}

/// A name that begins with `@` stands for one that is in no file system. Waits for nobody: whoever listens and never reads fills its queue, and
/// would hold up whoever is served by then.
#[cfg(target_os = "linux")]
fn send(socket: &OsStr, state: &str) -> io::Result<usize> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_socket_in_no_file_system_is_reached_too() {
        let name = format!("aegis-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), READY).unwrap();
        let mut heard = [0; 64];
        let length = socket.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
    }

    #[test]
    fn who_listens_and_never_reads_holds_up_nobody() {
        let name = format!("aegis-test-deaf-{}", std::process::id());
        let deaf = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let (told, hears) = mpsc::channel();
        // Beside the test: one that waits would wait for ever.
        thread::spawn(move || told.send((0..10_000).find_map(|_| send(OsStr::new(&format!("@{name}")), READY).err())));
        let refused = hears.recv_timeout(Duration::from_secs(30)).expect("it waits for somebody to read");
        assert_eq!(refused.expect("a queue has an end").kind(), io::ErrorKind::WouldBlock);
        drop(deaf);
    }
}
