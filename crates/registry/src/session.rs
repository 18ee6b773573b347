//! A conversation with the registry of one repository: which endpoint answers, redirects, authorization, retries.

use crate::auth::{Asker, Tokens};
use crate::config::{Config, Insecure, Patience};
use crate::tls::Trust;
use crate::transport::{Answer, Call, Fault, Transport};
use crate::url::{Origin, Url};
use crate::wording::{self, Subject};
use crate::{Credentials, Error, challenge};
use http::{Method, StatusCode, header};
use oci::Reference;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where `docker.io` really is.
const DOCKER_HUB: &str = "registry-1.docker.io";
const REDIRECTS: u32 = 5;
const ERROR_BODY_LIMIT: usize = 64 << 10;

/// All conversations share connections and tokens. Cheap to clone. Its methods want a tokio runtime with I/O and time.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    transport: Arc<Transport>,
    tokens: Tokens,
    mirrors: Vec<Url>,
    /// Registries that were found to speak plain http: asked that way first.
    plain: Mutex<HashSet<(String, u16)>>,
}

/// One repository of one registry, with the credentials for it. Cheap to clone.
#[derive(Clone)]
pub struct Repository(Arc<Conversation>);

struct Conversation {
    client: Client,
    reference: Reference,
    credentials: Option<Credentials>,
    /// The endpoint that answered; the following requests go there.
    chosen: Mutex<Option<Endpoint>>,
}

#[derive(Debug, Clone)]
struct Endpoint {
    origin: Origin,
    /// Path before `/v2/`, of a mirror.
    prefix: String,
    insecure: bool,
    mirror: bool,
}

/// One thing to ask of a repository.
pub(crate) struct Ask<'a> {
    pub method: Method,
    /// Below `/v2/`.
    pub path: String,
    pub subject: Subject,
    pub accept: &'a [&'a str],
    pub range: Option<u64>,
}

enum Trouble {
    /// Worth another try.
    Fault(Url, Fault),
    Final(Error),
}

/// A failure, and whether it was that nobody could be reached at all.
struct Failure {
    error: Error,
    unreached: bool,
}

impl Client {
    /// A client; it connects to nothing yet.
    ///
    /// # Errors
    /// When the configuration has an entry that is no registry.
    pub fn new(config: Config) -> Result<Client, Error> {
        let insecure = Insecure::parse(&config.insecure)?;
        let mut mirrors = Vec::new();
        for mirror in &config.mirrors {
            let text = if mirror.contains("://") { mirror.clone() } else { format!("https://{mirror}") };
            let bad = |why: &str| Error::Invalid(format!("invalid mirror: {why}: {mirror:?}"));
            let mut url = Url::parse(&text).ok_or_else(|| bad("it is not a valid http(s) URL"))?;
            if url.path.contains('?') || text.contains('#') {
                return Err(bad("it has a query or a fragment"));
            }
            url.path = url.path.trim_end_matches('/').to_owned();
            mirrors.push(url);
        }
        let transport = Transport::new(config.patience, insecure, Trust::new(config.certs), config.user_agent);
        Ok(Client(Arc::new(Shared {
            transport: Arc::new(transport),
            tokens: Tokens::default(),
            mirrors,
            plain: Mutex::default(),
        })))
    }

    /// The repository that a reference names. `credentials` are for the registry of the reference and go nowhere else.
    pub fn repository(&self, reference: &Reference, credentials: Option<Credentials>) -> Repository {
        Repository(Arc::new(Conversation {
            client: self.clone(),
            reference: reference.clone(),
            credentials,
            chosen: Mutex::default(),
        }))
    }

    /// Whether `host` (as in a reference, `docker.io`) accepts the credentials: what `login` asks.
    ///
    /// # Errors
    /// `Unauthorized` when it does not.
    pub async fn login(&self, host: &str, credentials: Credentials) -> Result<(), Error> {
        let reference: Reference =
            format!("{host}/login/login").parse().map_err(|e: oci::Error| Error::Invalid(format!("{host:?}: {e}")))?;
        let ask = Ask { method: Method::GET, path: String::new(), subject: Subject::Ping, accept: &[], range: None };
        self.repository(&reference, Some(credentials)).request(&ask).await.map(drop)
    }
}

/// Waits before try number `tries + 2`: what the registry asked for, or a doubling pause with jitter.
pub(crate) async fn pause(patience: &Patience, tries: u32, asked: Option<Duration>) {
    let wait = asked.unwrap_or_else(|| {
        let full = patience.pause.saturating_mul(1 << tries.min(6)).min(Duration::from_secs(10));
        let random = RandomState::new().build_hasher().finish() % 512;
        full.mul_f64(0.5 + random as f64 / 512.0)
    });
    tokio::time::sleep(wait).await;
}

impl Repository {
    /// The name it was asked by.
    pub fn reference(&self) -> &Reference {
        &self.0.reference
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.0.client.0.transport.patience
    }

    /// Asks the endpoint that answered before, or each in turn. The answer is a success, or 416 to a range.
    pub(crate) async fn request(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let chosen = self.0.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(endpoint) = chosen {
            match self.persist(&endpoint, ask, true).await {
                // A mirror may lack what the registry has.
                Err(_) if endpoint.mirror => {}
                result => return result.map_err(|f| f.error),
            }
        }
        let mut error = Error::Unreachable("no registry endpoint".into());
        let mut answered = false;
        for endpoint in self.endpoints() {
            // Asked only when it comes to that: it may need the name's addresses.
            if !endpoint.mirror && !endpoint.origin.secure && !self.may_be_plain(&endpoint).await {
                continue;
            }
            match self.persist(&endpoint, ask, false).await {
                Ok(answer) => {
                    self.choose(endpoint);
                    return Ok(answer);
                }
                // What was answered says more than that nobody is there under https.
                Err(failure) if answered && failure.unreached => {}
                Err(failure) => {
                    error = failure.error;
                    // Nobody there under https leaves http, for an insecure registry.
                    // A registry remembered as plain may have learnt https since, and then answers nonsense.
                    let nonsense = !endpoint.origin.secure && matches!(error, Error::Protocol(_));
                    if !endpoint.mirror && !failure.unreached && !nonsense {
                        break;
                    }
                    answered |= nonsense;
                }
            }
        }
        Err(error)
    }

    fn choose(&self, endpoint: Endpoint) {
        if !endpoint.mirror {
            let key = (endpoint.origin.host.clone(), endpoint.origin.port);
            let mut plain = self.0.client.0.plain.lock().unwrap_or_else(PoisonError::into_inner);
            if endpoint.origin.secure {
                plain.remove(&key);
            } else {
                plain.insert(key);
            }
        }
        *self.0.chosen.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint);
    }

    async fn may_be_plain(&self, endpoint: &Endpoint) -> bool {
        self.0.client.0.transport.is_insecure(&endpoint.origin.host, endpoint.origin.port).await
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let shared = &self.0.client.0;
        let host = self.0.reference.host();
        let hub = host == oci::reference::DEFAULT_HOST;
        let endpoint = |origin: Origin, prefix: &str, mirror| {
            let insecure = !origin.secure || shared.transport.insecure.covers(&origin.host, origin.port);
            Endpoint { origin, prefix: prefix.to_owned(), insecure, mirror }
        };
        let mut endpoints = Vec::new();
        if hub {
            endpoints.extend(shared.mirrors.iter().map(|m| endpoint(m.origin.clone(), &m.path, true)));
        }
        let authority = if hub { DOCKER_HUB } else { host };
        let origins = [true, false].map(|secure| Origin::new(secure, authority));
        let [Some(https), Some(http)] = origins else { return endpoints };
        let known = (http.host.clone(), http.port);
        let plain_first = shared.plain.lock().unwrap_or_else(PoisonError::into_inner).contains(&known);
        let (https, http) = (endpoint(https, "", false), endpoint(http, "", false));
        endpoints.extend(if plain_first { [http, https] } else { [https, http] });
        endpoints
    }

    /// One endpoint, as often as patience lasts. `met`: it has answered before, so that it not being there is a passing
    /// trouble and not an answer for the user.
    async fn persist(&self, endpoint: &Endpoint, ask: &Ask<'_>, mut met: bool) -> Result<Answer, Failure> {
        let patience = self.patience();
        let mut tries = 0;
        loop {
            let (error, asked) = match self.exchange(endpoint, ask).await {
                Ok(mut answer) => {
                    met = true;
                    let ranged = ask.range.is_some() && answer.status == StatusCode::RANGE_NOT_SATISFIABLE;
                    if answer.status.is_success() || ranged {
                        return Ok(answer);
                    }
                    let passing = answer.status.is_server_error()
                        || matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
                    let passing = passing && answer.status != StatusCode::NOT_IMPLEMENTED;
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
                    let asked = answer.header(header::RETRY_AFTER).and_then(|v| wording::retry_after(v, now));
                    let error = self.refusal(&mut answer, ask.subject).await;
                    if !passing || asked.is_some_and(|s| s > patience.retry_after.as_secs()) {
                        return Err(Failure { error, unreached: false });
                    }
                    (error, asked.map(Duration::from_secs))
                }
                Err(Trouble::Final(error)) => return Err(Failure { error, unreached: false }),
                Err(Trouble::Fault(url, fault)) => {
                    let verb = if ask.method == Method::HEAD && met { "Head" } else { "Get" };
                    let home = format!("{}{}/v2/", endpoint.origin, endpoint.prefix);
                    let first = !met && url.origin == endpoint.origin;
                    let at = if first { home } else { url.to_string() };
                    let error = Error::Unreachable(format!("{verb} \"{at}\": {}", fault.text()));
                    if first && matches!(fault, Fault::Dial(_)) {
                        return Err(Failure { error, unreached: true });
                    }
                    (error, None)
                }
            };
            if tries >= patience.retries {
                return Err(Failure { error, unreached: false });
            }
            tracing::debug!(%error, tries, "registry request is repeated");
            pause(patience, tries, asked).await;
            tries += 1;
        }
    }

    async fn refusal(&self, answer: &mut Answer, subject: Subject) -> Error {
        let body = answer.collect(ERROR_BODY_LIMIT, "error body").await.unwrap_or_default();
        let scope = challenges(answer).into_iter().find_map(|c| {
            let denied = c.scheme == "bearer" && c.parameters.get("error").is_some_and(|e| e == "insufficient_scope");
            denied.then(|| {
                let words = c.parameters.get("error_description").map(|d| wording::clean(d));
                words.unwrap_or_else(|| "requested access to the resource is denied".into())
            })
        });
        wording::refusal(&self.0.reference, subject, answer.status, scope, &body)
    }

    /// One request with what belongs to it: redirects, and the token or the credentials that a 401 asks for.
    async fn exchange(&self, endpoint: &Endpoint, ask: &Ask<'_>) -> Result<Answer, Trouble> {
        let shared = &self.0.client.0;
        let path = self.0.reference.path();
        let (scope, below) = match ask.subject {
            Subject::Ping => (String::new(), String::new()),
            _ => (format!("repository:{path}:pull"), format!("{path}/{}", ask.path)),
        };
        let asker = Asker {
            origin: endpoint.origin.clone(),
            insecure: endpoint.insecure,
            scope,
            // The user's credentials are for the registry he named, not for a mirror in front of it.
            credentials: self.0.credentials.clone().filter(|_| !endpoint.mirror),
        };
        let mut url = Url { origin: endpoint.origin.clone(), path: format!("{}/v2/{below}", endpoint.prefix) };
        let mut authorization = shared.tokens.known(&asker);
        let (mut hops, mut refused) = (0, false);
        loop {
            let at_home = url.origin == endpoint.origin;
            let call = Call {
                method: ask.method.clone(),
                url: &url,
                accept: ask.accept,
                authorization: authorization.as_deref().filter(|_| at_home),
                range: ask.range,
                form: None,
            };
            let mut answer = shared.transport.send(&call).await.map_err(|f| Trouble::Fault(url.clone(), f))?;
            if answer.status.is_redirection() && answer.status != StatusCode::NOT_MODIFIED {
                hops += 1;
                if hops > REDIRECTS {
                    return Err(Trouble::Final(Error::Protocol(format!(
                        "Get \"{url}\": stopped after {REDIRECTS} redirects"
                    ))));
                }
                url = self.redirect(endpoint, &url, &answer).await.map_err(Trouble::Final)?;
                // Short bodies are read so that the connection can be used again.
                let _ = answer.collect(4096, "redirect").await;
                continue;
            }
            if answer.status == StatusCode::UNAUTHORIZED && at_home && !refused {
                refused = true;
                let challenges = challenges(&answer);
                let _ = answer.collect(ERROR_BODY_LIMIT, "error body").await;
                let granted = shared.tokens.authorize(&shared.transport, &asker, &challenges, &url).await;
                authorization = Some(granted.map_err(Trouble::Final)?);
                continue;
            }
            return Ok(answer);
        }
    }

    async fn redirect(&self, endpoint: &Endpoint, from: &Url, answer: &Answer) -> Result<Url, Error> {
        let location = answer.header(header::LOCATION).unwrap_or_default();
        let to = from.join(location)?;
        let transport = &self.0.client.0.transport;
        if from.origin.secure && !to.origin.secure && !transport.is_insecure(&to.origin.host, to.origin.port).await {
            return Err(Error::Protocol(format!("Get \"{from}\": refusing a redirect from https to {}", to.origin)));
        }
        if to.origin.is_link_local() && to.origin.host != endpoint.origin.host {
            return Err(Error::Protocol(format!(
                "Get \"{from}\": refusing a redirect to the link-local {}",
                to.origin
            )));
        }
        Ok(to)
    }
}

fn challenges(answer: &Answer) -> Vec<challenge::Challenge> {
    let values = answer.headers.get_all(header::WWW_AUTHENTICATE);
    values.iter().filter_map(|v| v.to_str().ok()).flat_map(challenge::parse).collect()
}
