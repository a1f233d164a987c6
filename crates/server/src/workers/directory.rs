//! Asks each directory from time to time, and at once when a host of its domain has enrolled.

use tokio::sync::watch;
use tracing::error;
use watchpost_core::directory::Access;
use watchpost_core::time::Timestamp;

use crate::app::App;
use crate::config::DirectorySettings;
use crate::directory::{Asked, Password, ask};

/// A password that was refused, and when: it is not offered again and again, or the account is locked out.
struct Refused {
    at: Timestamp,
    hash: [u8; 32],
}

/// Asks one directory until the server stops.
pub(super) async fn run(app: App, settings: DirectorySettings, mut stopped: watch::Receiver<bool>) {
    let clock = app.clock().clone();
    let (mut refused, mut after) = (None, None);
    loop {
        let looking = look(&app, &settings, &mut refused, &mut after);
        tokio::select! {
            () = looking => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        tokio::select! {
            () = clock.sleep_until(clock.now() + settings.check_every) => {}
            () = app.directory_is_wanted(&settings.domain) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

async fn look(
    app: &App,
    settings: &DirectorySettings,
    refused: &mut Option<Refused>,
    after: &mut Option<watchpost_core::id::SensorId>,
) {
    let asked = match Password::read(&settings.password_file) {
        Err(reason) => {
            Asked { server: None, access: Access::Refused { reason, is_expired: false }, answers: Vec::new() }
        }
        Ok(password) => {
            let (now, hash) = (app.clock().now(), password.hash());
            let again_after = app.directory_policy().refused_again_after;
            if refused.as_ref().is_some_and(|one| one.hash == hash && now.since(one.at) < again_after) {
                return;
            }
            let questions = app.directory_questions(&settings.domain, *after);
            *after = questions.last().map(|question| question.sensor);
            let asked = ask(settings, &password, &questions).await;
            *refused = matches!(asked.access, Access::Refused { .. }).then_some(Refused { at: now, hash });
            asked
        }
    };
    if let Err(failure) = app.take_directory_answers(&settings.domain, asked).await {
        error!(domain = %settings.domain, "what a directory said was not saved and is asked again: {}", failure.chain());
    }
}
