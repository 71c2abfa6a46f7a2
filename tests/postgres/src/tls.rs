//! Certificates for tests, and who vouches for them.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::sync::atomic::{AtomicU32, Ordering};

/// Somebody who vouches for servers, and whom nobody knows but by [`Authority::pem`].
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of the same name, they would be taken for each other.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("its own").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate of a server of these names, and its key.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let params = CertificateParams::new(names.iter().map(|it| it.to_string()).collect::<Vec<_>>()).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority may");
        (certificate.pem(), key.serialize_pem())
    }
}
