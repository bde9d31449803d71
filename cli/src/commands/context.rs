//! `lode context …`: which pools this command line knows.

use serde_json::json;

use crate::arguments::{ContextCommand, Global};
use crate::context::{Contexts, PoolContext, Token};
use crate::failure::Kind;
use crate::output::{self, Format, Sheet};

pub(super) fn run(global: &Global, command: ContextCommand) -> anyhow::Result<()> {
    let path = Contexts::path()?;
    match command {
        ContextCommand::Ls => list(global, &Contexts::load(&path)?),
        ContextCommand::Use { name } => {
            Contexts::change(&path, |contexts| {
                contexts.choose(Some(&name))?;
                contexts.current = Some(name.clone());
                Ok(())
            })?;
            output::line(&format!("{name} is the current context"))
        }
        ContextCommand::Set { name, deployment, rpc_url, pool, current } => {
            let token = match &global.token_file {
                Some(file) => Some(Token::new(&lode_files::read_secret_text(file)?)),
                None => None,
            };
            if let Some(url) = &global.url {
                // Says at once what is wrong with it.
                crate::api::Api::new(url, None)?;
            }
            let deployment = deployment.map(std::path::absolute).transpose()?;
            Contexts::change(&path, |contexts| {
                let context = contexts.contexts.entry(name.clone()).or_default();
                set(&mut context.token, token);
                set(&mut context.deployment, deployment);
                set(&mut context.rpc_url, rpc_url);
                set(&mut context.pool, pool.map(|pool| pool.0));
                if let Some(url) = &global.url {
                    url.clone_into(&mut context.url);
                }
                if context.url.is_empty() && context.deployment.is_none() {
                    let remedy =
                        "give --url URL and --token-file FILE, or --deployment FILE for chain commands only";
                    return Err(Kind::Usage.with_remedy("the context would say nothing", remedy));
                }
                if current || contexts.current.is_none() {
                    contexts.current = Some(name.clone());
                }
                Ok(())
            })?;
            output::line(&format!("context {name} is set"))
        }
        ContextCommand::Rm { name } => {
            let known = Contexts::change(&path, |contexts| Ok(contexts.remove(&name)))?;
            if !known {
                return Err(Kind::NotFound
                    .with_remedy(format!("there is no context {name:?}"), "run `lode context ls`"));
            }
            output::line(&format!("context {name} is removed"))
        }
    }
}

fn set<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

fn list(global: &Global, contexts: &Contexts) -> anyhow::Result<()> {
    let is_current = |name: &str| contexts.current.as_deref() == Some(name);
    match global.output {
        Format::Json => {
            let items: Vec<_> = contexts
                .contexts
                .iter()
                .map(|(name, context)| entry(name, context, is_current(name)))
                .collect();
            output::json(&json!({ "items": items }))
        }
        Format::Table | Format::Wide => {
            let mut sheet = Sheet::new(["current", "name", "url", "pool", "token"]).or_else("no contexts");
            for (name, context) in &contexts.contexts {
                sheet.row([
                    if is_current(name) { "*".to_owned() } else { String::new() },
                    name.clone(),
                    context.url.clone(),
                    context.pool.map(|pool| pool.to_string()).unwrap_or_default(),
                    if context.token.is_some() { "yes" } else { "no" }.to_owned(),
                ]);
            }
            output::sheet(&sheet)
        }
    }
}

/// A context without its secret.
fn entry(name: &str, context: &PoolContext, current: bool) -> serde_json::Value {
    json!({
        "name": name,
        "current": current,
        "url": context.url,
        "has_token": context.token.is_some(),
        "deployment": context.deployment,
        "rpc_url": context.rpc_url,
        "pool": context.pool,
        "dev": context.dev,
    })
}
