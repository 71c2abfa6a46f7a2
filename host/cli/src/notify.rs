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

/// A name that begins with `@` stands for one that is in no file system.
#[cfg(target_os = "linux")]
fn send(socket: &OsStr, state: &str) -> io::Result<usize> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_no_file_system_is_reached_too() {
        let name = format!("aegis-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), READY).unwrap();
        let mut heard = [0; 64];
        let length = socket.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
    }
}
