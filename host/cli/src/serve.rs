//! `aegis serve`

use crate::failure::Failure;
use crate::hosting::{self, Options, needed_config_file};
use crate::keys;
use aegis_core::Code;
use aegis_server::config::{AuthSettings, Settings, environment};
use clap::Args;
use std::net::SocketAddr;

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    options: Options,
    /// Serve also when the configuration asks for no authentication: everybody may do everything
    #[arg(long)]
    no_auth: bool,
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut settings = Settings::load(needed_config_file(self.options.config.as_deref()), &environment())?;
        self.options.apply(&mut settings)?;
        self.check_authentication(settings.auth)?;
        let auth = settings.auth;
        hosting::serve(settings, async |app, address| {
            tracing::info!(%address, page = page(address), guards = app.guards().len(), routes = app.plans().len(), "listening");
            match auth {
                AuthSettings::None => tracing::warn!("no authentication: whoever reaches this address may do everything"),
                AuthSettings::ApiKey if app.auth().has_keys().await? => {}
                AuthSettings::ApiKey => tracing::warn!("there is no key yet, so nobody can call: {}", keys::HOW_TO_CREATE),
            }
            Ok(())
        })
        .await
    }

    fn check_authentication(&self, auth: AuthSettings) -> Result<(), Failure> {
        let refused = || Failure::new(Code::SRV_NO_AUTH, "the configuration asks for no authentication, and --no-auth was not said");
        if auth == AuthSettings::None && !self.no_auth { Err(refused()) } else { Ok(()) }
    }
}

fn page(address: SocketAddr) -> String {
    format!("http://{address}/approvals")
}
