//! How a process comes by its sockets: from systemd, from the process whose place it takes, or by binding them itself.

use std::io;
use std::path::Path;

use super::handover::{Predecessor, Successors, TakeoverError};
use super::listeners::Listeners;
use super::systemd::Inherited;
use crate::settings::Settings;

/// Whether the process that serves with the same state directory is to make way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    Afresh,
    TakingOver,
}

/// What a server begins with.
pub struct Opened {
    pub listeners: Listeners,
    /// Whose place this process takes once it is ready.
    pub predecessor: Option<Predecessor>,
    /// Where the process is expected that will take the place of this one. `None`: it cannot be.
    pub successors: Option<Successors>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Inherited(io::Error),
    #[error(transparent)]
    Sockets(io::Error),
    #[error(transparent)]
    Takeover(TakeoverError),
}

pub async fn open(settings: &Settings, beginning: Beginning, inherited: Inherited) -> Result<Opened, OpenError> {
    let inherited = inherited.sockets().map_err(OpenError::Inherited)?;
    let offered = match beginning {
        Beginning::Afresh => None,
        Beginning::TakingOver => Predecessor::ask(&settings.state).await.map_err(OpenError::Takeover)?,
    };
    if beginning == Beginning::TakingOver && offered.is_none() {
        tracing::info!(state = %settings.state.display(), "no process serves with this state directory: there is nothing to take over");
    }
    let (predecessor, sockets, successors) = match offered {
        Some(offered) => (Some(offered.predecessor), offered.sockets, Some(offered.successors)),
        None => (None, Vec::new(), None),
    };
    let listeners = if inherited.is_empty() {
        Listeners::at(settings.listen, settings.ops_listen, sockets).await
    } else {
        Listeners::by(inherited, settings.ops_listen).await
    };
    let listeners = listeners.map_err(OpenError::Sockets)?;
    let successors = match successors {
        Some(successors) => Some(successors),
        None => expect_successors(&settings.state).await,
    };
    Ok(Opened { listeners, predecessor, successors })
}

async fn expect_successors(state: &Path) -> Option<Successors> {
    match Successors::expected_in(state).await {
        Ok(successors) => Some(successors),
        Err(error) => {
            tracing::warn!(%error, state = %state.display(), "no other process will be able to take over from this one");
            None
        }
    }
}
