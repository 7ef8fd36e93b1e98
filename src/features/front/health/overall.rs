//! Overall state: the worst of its parts, which are servers, domains, services and Lamplighter itself. Used by `GET /api/status`,
//! the command `status` and the metrics; the frame of every page counts the servers. Silences are applied for people
//! only, not for programs.

use super::Status;
use crate::app::App;
use crate::base::error::Result;
use crate::base::shape::described;
use crate::features::fleet::servers::{self, Counts, State};
use crate::features::proxy::domains;
use crate::features::watch::alerts;
use crate::features::workloads::services;
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::lang::Lang;
use crate::task::{self, queue};

described! {
    /// The overall state.
    #[derive(Debug)]
    pub struct Overall {
        /// `healthy`, `degraded` or `unhealthy`: the same as `state`, in other words.
        pub status: Status,
        /// The worst of the parts.
        pub state: State,
        /// Its parts.
        pub parts: Parts,
        /// Services by their health; those that are switched off are left out.
        pub services: services::Counts,
        /// Alerts that are not resolved.
        pub alerts_open: i64,
        /// Of these, not acknowledged.
        pub alerts_firing: i64,
        /// Running and waiting tasks.
        pub tasks: Tasks,
    }

    /// Parts of [`Overall`].
    #[derive(Debug)]
    pub struct Parts {
        /// All servers.
        pub servers: Servers,
        /// All domains.
        pub domains: Domains,
        /// All services.
        pub services: Services,
        /// Lamplighter itself.
        pub lamplighter: Own,
    }

    /// Services.
    #[derive(Debug)]
    pub struct Services {
        /// Worst state of a service; one that nobody can see counts as up.
        pub state: State,
    }

    /// Domains by state.
    #[derive(Debug)]
    pub struct Domains {
        /// Worst state of a domain.
        pub state: State,
        /// Up: served as deployed.
        pub lit: i64,
        /// Degraded.
        pub flick: i64,
        /// Down.
        pub dark: i64,
        /// Not deployed.
        pub unlit: i64,
    }
}

impl Domains {
    fn of(counts: &[(&domains::Reason, i64)]) -> Domains {
        let of = |lamp: &str| counts.iter().filter(|(r, _)| r.lamp == lamp).map(|(_, n)| n).sum();
        let (lit, flick, dark, unlit) = (of("lit"), of("flick"), of("dark"), of("unlit"));
        let state = match (dark, flick) {
            (1.., _) => State::Down,
            (_, 1..) => State::Degraded,
            _ => State::Up,
        };
        Domains {
            state,
            lit,
            flick,
            dark,
            unlit,
        }
    }

    /// Number by lamp name.
    pub fn by_lamp(&self) -> [(&'static str, i64); 4] {
        [
            ("lit", self.lit),
            ("flick", self.flick),
            ("dark", self.dark),
            ("unlit", self.unlit),
        ]
    }
}

described! {
    /// Servers by state.
    #[derive(Debug)]
    pub struct Servers {
        /// Worst state of a server.
        pub state: State,
        /// Number in each state.
        #[serde(flatten)]
        pub counts: Counts,
    }

    /// Lamplighter itself.
    #[derive(Debug)]
    pub struct Own {
        /// State by its health.
        pub state: State,
        /// Problems.
        pub reasons: Vec<String>,
    }

    /// Tasks of [`Overall`].
    #[derive(Debug)]
    pub struct Tasks {
        /// Running.
        pub running: i64,
        /// Waiting.
        pub queued: i64,
    }
}

impl Overall {
    /// Reads the current state.
    pub fn of(app: &App) -> Result<Overall> {
        let lamplighter = own(app);
        app.db.read(|conn| {
            let counts = servers::counts(conn)?;
            let tasks = queue::counts(conn)?;
            let count = |status: task::Status| {
                let known = tasks.iter().find(|(name, _)| *name == status.name());
                known.map_or(0, |(_, n)| *n)
            };
            let domains = Domains::of(&domains::counts(conn)?);
            let services = services::counts(conn)?;
            let of_services = match (services.unhealthy, services.degraded) {
                (1.., _) => State::Down,
                (_, 1..) => State::Degraded,
                _ => State::Up,
            };
            let state = counts
                .worst()
                .max(domains.state)
                .max(of_services)
                .max(lamplighter.state);
            Ok(Overall {
                status: status(state),
                state,
                parts: Parts {
                    servers: Servers {
                        state: counts.worst(),
                        counts,
                    },
                    domains,
                    services: Services { state: of_services },
                    lamplighter,
                },
                services,
                alerts_open: alerts::open(conn)?,
                alerts_firing: alerts::firing(conn)?,
                tasks: Tasks {
                    running: count(task::Status::Running),
                    queued: count(task::Status::Queued),
                },
            })
        })
    }

    /// Parts by name, with their states.
    pub fn parts(&self) -> [(&'static str, State); 4] {
        let parts = &self.parts;
        [
            ("servers", parts.servers.state),
            ("domains", parts.domains.state),
            ("services", parts.services.state),
            ("lamplighter", parts.lamplighter.state),
        ]
    }
}

fn status(state: State) -> Status {
    match state {
        State::Up | State::Pending => Status::Healthy,
        State::Degraded => Status::Degraded,
        State::Down => Status::Unhealthy,
    }
}

/// State of Lamplighter itself.
pub fn own(app: &App) -> Own {
    let own = super::own(app);
    Own {
        state: match own.status {
            Status::Healthy => State::Up,
            Status::Degraded => State::Degraded,
            Status::Unhealthy => State::Down,
        },
        reasons: own.reasons.iter().map(|reason| reason.say(Lang::En)).collect(),
    }
}

described! {
    /// The overall state in the API.
    pub struct Report {
        #[serde(flatten)]
        overall: Overall,
        uptime_seconds: u64,
    }
}

/// `GET /api/status`.
pub fn show(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&Report {
        overall: Overall::of(ctx.app)?,
        uptime_seconds: ctx.app.started.elapsed().as_secs(),
    })
}
