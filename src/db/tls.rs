//! TLS towards the server, as libpq's `sslmode` promises it (Postgres manual, 34.19), over the system's OpenSSL.
//!
//! `prefer` and `require` encrypt and check nothing; `verify-ca` checks who signed the certificate, `verify-full` the
//! host's name as well. As in libpq, `require` with a root certificate is `verify-ca`.

use super::DbError;
use crate::config::{RootCert, Tls, TlsMode};
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVerifyMode};
use openssl::x509::store::{X509Lookup, X509StoreBuilder};
use postgres_openssl::MakeTlsConnector;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// The connector for these settings.
///
/// # Errors
/// [`DbError::Tls`] for a file that cannot be read or does not fit.
pub(super) fn connector(tls: &Tls) -> Result<MakeTlsConnector, DbError> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed("OpenSSL"))?;
    let (verify, hostname) = match tls.mode {
        TlsMode::VerifyFull => (true, true),
        TlsMode::VerifyCa => (true, false),
        TlsMode::Require => (tls.root_cert.is_some(), false),
        TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer => (false, false),
    };
    builder.set_verify(if verify { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
    if verify {
        trust(&mut builder, tls)?;
    }
    if let Some(client) = &tls.client {
        builder
            .set_certificate_chain_file(&client.cert)
            .map_err(failed(&format!("sslcert {}", client.cert.display())))?;
        builder
            .set_private_key_file(&client.key, SslFiletype::PEM)
            .and_then(|()| builder.check_private_key())
            .map_err(failed(&format!("sslkey {}", client.key.display())))?;
    }
    let mut connector = MakeTlsConnector::new(builder.build());
    connector.set_callback(move |connection, _| {
        connection.set_verify_hostname(hostname);
        Ok(())
    });
    Ok(connector)
}

/// Whom to trust: the file named, libpq's own place for it, else the system's certificates (also `sslrootcert=system`).
fn trust(builder: &mut SslConnectorBuilder, tls: &Tls) -> Result<(), DbError> {
    let usual = || {
        let path = PathBuf::from(std::env::var_os("HOME")?).join(".postgresql/root.crt");
        path.exists().then_some(path)
    };
    let file = match &tls.root_cert {
        Some(RootCert::System) => None,
        Some(RootCert::File(path)) => Some(path.clone()),
        None => usual(),
    };
    // The builder has loaded the system's already; beside a file nothing else is trusted.
    let Some(file) = file else { return Ok(()) };
    let mut store = X509StoreBuilder::new().map_err(failed("OpenSSL"))?;
    store
        .add_lookup(X509Lookup::file())
        .and_then(|lookup| lookup.load_cert_file(&file, SslFiletype::PEM))
        .map_err(failed(&format!("sslrootcert {}", file.display())))?;
    builder.set_cert_store(store.build());
    Ok(())
}

fn failed(what: &str) -> impl Fn(ErrorStack) -> DbError {
    move |source| DbError::Tls { what: what.to_owned(), source }
}

/// A connector that remembers whether the server agreed to TLS: tokio-postgres' error does not say it.
#[derive(Clone)]
pub(super) struct Watched<C> {
    connector: C,
    agreed: Arc<AtomicBool>,
}

impl<C> Watched<C> {
    pub(super) fn new(connector: C) -> Self {
        Self { connector, agreed: Arc::default() }
    }

    /// Whether a handshake was begun.
    pub(super) fn agreed(&self) -> bool {
        self.agreed.load(Ordering::Relaxed)
    }
}

impl<S, C: MakeTlsConnect<S>> MakeTlsConnect<S> for Watched<C> {
    type Stream = C::Stream;
    type TlsConnect = Watched<C::TlsConnect>;
    type Error = C::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        let connector = self.connector.make_tls_connect(domain)?;
        Ok(Watched { connector, agreed: self.agreed.clone() })
    }
}

impl<S, C: TlsConnect<S>> TlsConnect<S> for Watched<C> {
    type Stream = C::Stream;
    type Error = C::Error;
    type Future = C::Future;

    fn connect(self, stream: S) -> Self::Future {
        self.agreed.store(true, Ordering::Relaxed);
        self.connector.connect(stream)
    }
}
