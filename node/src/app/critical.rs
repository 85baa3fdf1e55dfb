//! Tasks that the process can't be without.
//!
//! Used by [`crate::app`]: the first of them that ends, ends the process, with its name in the message.

use std::fmt::Display;

use tokio::task::{Id, JoinError, JoinSet};

use super::RunError;

/// The tasks and their names.
#[derive(Debug, Default)]
pub(super) struct Critical {
    tasks: JoinSet<String>,
    names: Vec<(Id, &'static str)>,
}

impl Critical {
    /// Runs `task` under this name.
    pub(super) fn spawn<E: Display>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(async {
            match task.await {
                Ok(()) => "it should not have".to_owned(),
                Err(error) => error.to_string(),
            }
        });
        self.names.push((handle.id(), name));
    }

    /// Waits for the first that ends; for ever, if there is none.
    pub(super) async fn ended(&mut self) -> RunError {
        let Some(joined) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, reason) = joined.unwrap_or_else(|error| (error.id(), panicked(&error)));
        let task = self.names.iter().find(|(known, _)| *known == id).map_or("a task", |(_, name)| name);
        RunError::Critical { task, reason }
    }
}

/// What became of a task that gave no result.
pub(super) fn panicked(error: &JoinError) -> String {
    if error.is_panic() { "it panicked; the log says where".to_owned() } else { "it was aborted".to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::unnecessary_literal_unwrap)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_end_is_told_with_its_name() {
        let mut critical = Critical::default();
        critical.spawn("patience", std::future::pending::<Result<(), String>>());
        critical.spawn("haste", async { Err("no time") });
        assert_eq!(critical.ended().await.to_string(), "haste ended: no time");
        critical.spawn("fuse", async { Err::<(), String>(None.unwrap()) });
        assert_eq!(critical.ended().await.to_string(), "fuse ended: it panicked; the log says where");
    }
}
