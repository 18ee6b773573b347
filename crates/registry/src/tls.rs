//! Whom to trust: the system's roots plus `certs.d/<host[:port]>/*.crt`, client certificates from `*.cert` and `*.key`,
//! and nobody's word for a registry on the insecure list. The cryptography behind it is chosen here and nowhere else.

use crate::url::Origin;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::rustls;

/// What was loaded so far. Nothing is before the first TLS connection.
#[derive(Debug)]
pub(crate) struct Trust {
    directories: Vec<PathBuf>,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    system: Option<Arc<RootCertStore>>,
    /// For hosts without a directory of their own.
    verifying: Option<Arc<ClientConfig>>,
    insecure: Option<Arc<ClientConfig>>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Trust {
    pub(crate) fn new(directories: Vec<PathBuf>) -> Trust {
        Trust { directories, loaded: Mutex::default() }
    }

    /// The configuration for one connection. Reads files: call it where blocking is allowed.
    pub(crate) fn config(&self, origin: &Origin, verify: bool) -> Result<Arc<ClientConfig>, String> {
        let names = [origin.authority(), format!("{}:{}", origin.host, origin.port)];
        let own = self.directories.iter().flat_map(|d| names.iter().map(move |n| d.join(n))).find(|d| d.is_dir());
        let cached = {
            let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            if verify { loaded.verifying.clone() } else { loaded.insecure.clone() }
        };
        match (own, cached) {
            // Files of an administrator are read each time, so that adding one needs no restart.
            (Some(directory), _) => self.build(Some(&directory), verify),
            (None, Some(config)) => Ok(config),
            (None, None) => {
                let config = self.build(None, verify)?;
                let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
                *(if verify { &mut loaded.verifying } else { &mut loaded.insecure }) = Some(config.clone());
                Ok(config)
            }
        }
    }

    fn system(&self) -> Arc<RootCertStore> {
        if let Some(roots) = &self.loaded.lock().unwrap_or_else(PoisonError::into_inner).system {
            return roots.clone();
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let roots = Arc::new(roots);
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).system = Some(roots.clone());
        roots
    }

    fn build(&self, directory: Option<&Path>, verify: bool) -> Result<Arc<ClientConfig>, String> {
        let (mut pinned, mut client) = (Vec::new(), None);
        if let Some(directory) = directory {
            (pinned, client) = read_directory(directory)?;
        }
        let verifier: Arc<dyn ServerCertVerifier> = if verify {
            let mut roots = self.system();
            if !pinned.is_empty() {
                Arc::make_mut(&mut roots).add_parsable_certificates(pinned.iter().cloned());
            }
            // With no root at all every certificate is from an unknown authority; the builder refuses an empty store.
            let inner = if roots.is_empty() {
                None
            } else {
                let built = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
                Some(built.map_err(|e| format!("tls: {e}"))?)
            };
            Arc::new(Verifying { inner, pinned, provider: provider() })
        } else {
            Arc::new(Anyone(provider()))
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("tls: {e}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match client {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|e| format!("tls: {e}"))?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// `*.crt` are authorities, `x.cert` with `x.key` is who we are.
fn read_directory(directory: &Path) -> Result<(Vec<CertificateDer<'static>>, Option<Identity>), String> {
    let failed = |path: &Path, why: String| format!("{}: {why}", path.display());
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(|e| failed(directory, e.to_string()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let (mut authorities, mut identity) = (Vec::new(), None);
    for path in paths {
        let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| failed(path, e.to_string()))
        };
        match path.extension().and_then(|e| e.to_str()) {
            Some("crt") => authorities.extend(certificates(&path)?),
            Some("cert") => {
                let key_path = path.with_extension("key");
                let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|e| {
                    failed(&key_path, format!("missing key for client certificate {}: {e}", path.display()))
                })?;
                identity = Some((certificates(&path)?, key));
            }
            _ => {}
        }
    }
    Ok((authorities, identity))
}

/// The usual verification; besides, a certificate that stands byte for byte in the registry's own directory is trusted
/// although it is no authority, which is how self-signed registries are set up everywhere.
#[derive(Debug)]
struct Verifying {
    inner: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifying {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|p| p.as_ref() == end_entity.as_ref()) {
            rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            return match validity(end_entity) {
                Some((from, to)) if (from..=to).contains(&now.as_secs()) => Ok(ServerCertVerified::assertion()),
                Some(_) => Err(CertificateError::Expired.into()),
                None => Err(CertificateError::BadEncoding.into()),
            };
        }
        match &self.inner {
            Some(inner) => inner.verify_server_cert(end_entity, intermediates, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// For the insecure list: any certificate will do.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// One DER element: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let (bytes, rest) = (count <= 4).then(|| rest.split_at_checked(count))??;
        (bytes.iter().fold(0usize, |n, b| n << 8 | usize::from(*b)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// notBefore and notAfter of a certificate in seconds since 1970 (RFC 5280 section 4.1).
fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut tbs, _) = element(certificate)?;
    if tbs.first() == Some(&0xa0) {
        tbs = element(tbs)?.2; // version
    }
    for _ in 0..3 {
        tbs = element(tbs)?.2; // serial number, signature, issuer
    }
    let (_, dates, _) = element(tbs)?;
    let (tag, from, rest) = element(dates)?;
    let (tag2, to, _) = element(rest)?;
    Some((time(tag, from)?, time(tag2, to)?))
}

fn time(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, rest) = match tag {
        0x17 => (number(0..2).map(|y| if y < 50 { 2000 + y } else { 1900 + y })?, 2),
        0x18 => (number(0..4)?, 4),
        _ => return None,
    };
    let part = |n: usize| number(rest + 2 * n..rest + 2 * n + 2);
    let days = crate::wording::days_since_1970(year, part(0)?, part(1)?)?;
    Some(days * 86400 + part(2)? * 3600 + part(3)? * 60 + part(4)?)
}

/// Go's words for a handshake that failed.
pub(crate) fn words(error: &io::Error) -> String {
    let Some(error) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".into(),
            _ => crate::wording::io(error),
        };
    };
    let x509 = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                x509("certificate signed by unknown authority")
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => x509("certificate has expired or is not yet valid"),
            CertificateError::NotValidForNameContext { expected, presented } => {
                x509(&format!("certificate is valid for {}, not {}", presented.join(", "), expected.to_str()))
            }
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                x509("certificate signed by unknown authority")
            }
            other => x509(&other.to_string()),
        },
        rustls::Error::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".into(),
        rustls::Error::AlertReceived(alert) => format!("remote error: tls: {alert:?}"),
        other => format!("tls: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    /// A self-signed certificate for `reg.test`, valid from now for two days.
    fn certificate(directory: &Path) {
        let status = Command::new("openssl")
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x".split(' '))
            .args(["-addext", "subjectAltName=DNS:reg.test", "-days", "2", "-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(directory)
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }

    async fn greet(trust: &Trust, directory: &Path, host: &str, verify: bool) -> Result<(), String> {
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(directory.join("cert.pem")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(directory.join("key.pem")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
        });
        let client = trust.config(&Origin::new(true, host).unwrap(), verify)?;
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(host.split(':').next().unwrap().to_owned()).unwrap();
        TlsConnector::from(client).connect(name, stream).await.map(drop).map_err(|e| words(&e))
    }

    #[tokio::test]
    async fn who_is_trusted() {
        let root = std::env::temp_dir().join(format!("dhow-tls-{}", std::process::id()));
        let own = root.join("certs.d/reg.test:5000");
        std::fs::create_dir_all(&own).unwrap();
        certificate(&root);
        let trust = Trust::new(vec![root.join("certs.d")]);
        let x509 = |why: &str| Err(format!("tls: failed to verify certificate: x509: {why}"));
        let unknown = x509("certificate signed by unknown authority");
        assert_eq!(greet(&trust, &root, "reg.test:5000", true).await, unknown);
        assert_eq!(greet(&trust, &root, "reg.test:5000", false).await, Ok(()));
        std::fs::copy(root.join("cert.pem"), own.join("ca.crt")).unwrap();
        // No restart needed, and for that host and port only.
        assert_eq!(greet(&trust, &root, "reg.test:5000", true).await, Ok(()));
        assert_eq!(greet(&trust, &root, "reg.test:5001", true).await, unknown);
        std::fs::rename(&own, root.join("certs.d/other.test:5000")).unwrap();
        let wrong = greet(&trust, &root, "other.test:5000", true).await.unwrap_err();
        assert!(wrong.contains("x509: certificate is") && wrong.contains("other.test"), "{wrong}");
        let pinned: Vec<_> =
            CertificateDer::pem_file_iter(root.join("cert.pem")).unwrap().map(Result::unwrap).collect();
        let verifier = Verifying { inner: None, pinned: pinned.clone(), provider: provider() };
        let name = ServerName::try_from("reg.test").unwrap();
        let later = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1 << 33));
        let expired = verifier.verify_server_cert(&pinned[0], &[], &name, &[], later).unwrap_err();
        assert_eq!(Err(words(&io::Error::other(expired))), x509("certificate has expired or is not yet valid"));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn dates() {
        assert_eq!(time(0x17, b"700101000001Z"), Some(1));
        assert_eq!(time(0x18, b"20000301000000Z"), Some(11_017 * 86_400));
        assert_eq!(time(0x17, b"7001010000"), None);
        assert_eq!(validity(b"\x30\x84\xff\xff\xff\xff"), None);
    }
}
