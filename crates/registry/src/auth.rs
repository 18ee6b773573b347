//! What stands in an `Authorization` header: Basic credentials, or a Bearer token fetched from the realm that the
//! registry names (distribution's token specification).

use crate::challenge::Challenge;
use crate::transport::{Call, CollectError, Transport};
use crate::url::{Origin, Url, encode};
use crate::{Credentials, Error, wording};
use http::{Method, StatusCode};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A token answer is small.
const TOKEN_LIMIT: usize = 1 << 20;
/// What a token lives when the realm does not say (token specification).
const TOKEN_LIFE: u64 = 60;

/// Who asks what of whom. A token is reused only for exactly that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    pub origin: Origin,
    pub insecure: bool,
    /// `repository:library/debian:pull`, or empty.
    pub scope: String,
    pub credentials: Option<Credentials>,
}

/// Header values that worked before.
#[derive(Default)]
pub(crate) struct Tokens {
    known: Mutex<HashMap<Asker, (String, Option<Instant>)>>,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// A header for a first try, so that a known registry is asked once and not twice.
    pub(crate) fn known(&self, asker: &Asker) -> Option<String> {
        if let Some(token) = asker.credentials.as_ref().map(|c| &c.registry_token).filter(|t| !t.is_empty()) {
            return Some(format!("Bearer {token}"));
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (header, until) = known.get(asker)?;
        until.is_none_or(|until| Instant::now() < until).then(|| header.clone())
    }

    /// Answers a 401. `asked` is the URL it came from, for the error text.
    pub(crate) async fn authorize(
        &self,
        transport: &Arc<Transport>,
        asker: &Asker,
        challenges: &[Challenge],
        asked: &Url,
    ) -> Result<String, Error> {
        if asker.credentials.as_ref().is_some_and(|c| !c.registry_token.is_empty()) {
            return Err(Error::Unauthorized("unauthorized: authentication required".into()));
        }
        let find = |scheme: &str| challenges.iter().find(|c| c.scheme == scheme);
        let (header, until) = if let Some(bearer) = find("bearer") {
            let (token, life) = self.fetch(transport, asker, bearer).await?;
            // Given back a little early, so that it does not run out on the way.
            (format!("Bearer {token}"), Some(Instant::now() + Duration::from_secs(life - life / 6)))
        } else if find("basic").is_some() {
            let header = asker.credentials.as_ref().and_then(Credentials::basic);
            let missing = || Error::Unauthorized(format!("Get \"{asked}\": no basic auth credentials"));
            (header.ok_or_else(missing)?, None)
        } else {
            let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme.as_str()).collect();
            let text = match schemes.join(", ") {
                none if none.is_empty() => "unauthorized: authentication required".into(),
                schemes => format!(
                    "unauthorized: the registry wants an authentication this engine does not speak: {}",
                    wording::clean(&schemes)
                ),
            };
            return Err(Error::Unauthorized(text));
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > 256 {
            known.retain(|_, (_, until)| until.is_some_and(|until| Instant::now() < until));
        }
        known.insert(asker.clone(), (header.clone(), until));
        Ok(header)
    }

    async fn fetch(
        &self,
        transport: &Arc<Transport>,
        asker: &Asker,
        bearer: &Challenge,
    ) -> Result<(String, u64), Error> {
        let realm = bearer.parameters.get("realm").map(String::as_str).unwrap_or_default();
        let shown = wording::clean(realm);
        let mut url = Url::parse(realm).ok_or_else(|| {
            Error::Protocol(format!("registry names the token realm {shown:?}, which is not an http(s) URL"))
        })?;
        let same_host = url.origin.host == asker.origin.host;
        let decent = url.origin.secure || (asker.insecure && same_host);
        if !decent {
            return Err(Error::Protocol(format!("token realm {shown:?} is not https: refusing to ask it")));
        }
        if url.origin.is_link_local() && !same_host {
            return Err(Error::Protocol(format!("token realm {shown:?} is a link-local address: refusing to ask it")));
        }
        let service = bearer.parameters.get("service").map(String::as_str).unwrap_or_default();
        let credentials = asker.credentials.as_ref();
        let identity = credentials.map(|c| c.identity_token.as_str()).filter(|t| !t.is_empty());
        let mut form = None;
        let mut authorization = None;
        if let Some(token) = identity {
            form = Some(format!(
                "grant_type=refresh_token&service={}&client_id=dhow&scope={}&refresh_token={}",
                encode(service),
                encode(&asker.scope),
                encode(token)
            ));
        } else {
            let mut query = Vec::new();
            let account = credentials.map(|c| c.username.as_str()).unwrap_or_default();
            for (name, value) in [("account", account), ("scope", &asker.scope), ("service", service)] {
                if !value.is_empty() {
                    query.push(format!("{name}={}", encode(value)));
                }
            }
            if !query.is_empty() {
                url.path.push(if url.path.contains('?') { '&' } else { '?' });
                url.path.push_str(&query.join("&"));
            }
            authorization = credentials.and_then(Credentials::basic);
        }
        self.ask(transport, &url, authorization.as_deref(), form).await
    }

    async fn ask(
        &self,
        transport: &Arc<Transport>,
        url: &Url,
        authorization: Option<&str>,
        form: Option<String>,
    ) -> Result<(String, u64), Error> {
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let verb = if form.is_some() { "Post" } else { "Get" };
        let mut tries = 0;
        loop {
            let call =
                Call { method: method.clone(), url, accept: &[], authorization, range: None, form: form.clone() };
            let failed = |text: &str| Error::Unreachable(format!("{verb} \"{url}\": {text}"));
            let error = match transport.send(&call).await {
                Err(fault) => failed(fault.text()),
                Ok(mut answer) => match answer.collect(TOKEN_LIMIT, "the answer of the token realm").await {
                    Err(CollectError::Final(error)) => return Err(error),
                    Err(CollectError::Fault(fault)) => failed(fault.text()),
                    Ok(body) if answer.status.is_success() => return granted(&body, url),
                    Ok(body) => {
                        let said = wording::said(&body).map(|s| s.text);
                        match answer.status {
                            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                                let text = said.unwrap_or_else(|| "unauthorized: authentication required".into());
                                return Err(Error::Unauthorized(format!("{verb} \"{url}\": {text}")));
                            }
                            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                                Error::Server(format!("{verb} \"{url}\": received unexpected HTTP status: {status}"))
                            }
                            status => {
                                let text = format!("{verb} \"{url}\": received unexpected HTTP status: {status}");
                                return Err(Error::Protocol(text));
                            }
                        }
                    }
                },
            };
            if tries == transport.patience.retries.min(3) {
                return Err(error);
            }
            crate::session::pause(&transport.patience, tries, None).await;
            tries += 1;
        }
    }
}

fn granted(body: &[u8], url: &Url) -> Result<(String, u64), Error> {
    let bad = |why: &str| Error::Protocol(format!("Get \"{url}\": {why}"));
    let granted: Granted = serde_json::from_slice(body).map_err(|_| bad("the token realm did not answer with JSON"))?;
    let token = granted.token.filter(|t| !t.is_empty()).or(granted.access_token).filter(|t| !t.is_empty());
    let token = token.ok_or_else(|| bad("authorization server did not include a token in the response"))?;
    if !token.bytes().all(|b| (0x21..0x7f).contains(&b)) {
        return Err(bad("the token is not printable"));
    }
    Ok((token, granted.expires_in.unwrap_or(TOKEN_LIFE).clamp(TOKEN_LIFE, 86_400)))
}
