//! Creating a task's container, with its network ([`super::networks`]).
//!
//! Setting up a bridge network takes the engine several times as long as creating a container, so that both are made at
//! the same time: the container names the network, and the engine looks for it when the container is started. An engine
//! that looks earlier is asked again once the network is there.

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::call::{CALL, within};
use super::client::DockerEngine;
use super::failure::{During, classify, is_missing, misses_network};
use super::plan::{Blueprint, ImageFacts, container_name};
use super::require;
use super::ulimits::Ceiling;
use crate::core::effect::ContainerPlan;
use crate::core::event::{ContainerId, EngineFailure};
use crate::engine::Engine as _;

impl DockerEngine {
    pub(super) async fn create_with_network(
        &self,
        plan: &ContainerPlan,
    ) -> Result<ContainerId, EngineFailure> {
        // Leftovers of an older try; looking at the image does not depend on them.
        let (removed, image, ceiling) = tokio::join!(
            self.remove(&plan.id),
            self.image_facts(&plan.image),
            Ceiling::of_engine(&self.config.socket)
        );
        removed?;
        let image = image?;
        if let Some(host) = self.host_for(&plan.order.gpus)
            && let Some(lacking) = require::shortfall(&image.environment, &host)
        {
            return Err(EngineFailure::Unmet(lacking));
        }
        let blueprint = Blueprint {
            plan,
            ownership: &self.config.ownership,
            pool: self.config.realm.pool,
            hardening: &self.config.hardening,
            access: &self.config.access,
            image: &image,
            ceiling,
        };
        let body = blueprint.body()?;
        let (network, container) =
            tokio::join!(self.create_network(plan), self.create_container(plan, body.clone()));
        let created = match (network, container) {
            (Err(failure), _) => Err(failure),
            (Ok(()), Ok(container)) => return Ok(container),
            (Ok(()), Err(error)) if misses_network(&error) => {
                self.create_container(plan, body).await.map_err(|error| classify(&error, During::Create))
            }
            (Ok(()), Err(error)) => Err(classify(&error, During::Create)),
        };
        if created.is_err()
            && let Err(left) = self.remove(&plan.id).await
        {
            // Nothing half-made stays behind; what cannot be removed now is removed with the assignment.
            tracing::warn!(assignment = %plan.id, failure = ?left, "leftovers of a failed create stay for now");
        }
        created
    }

    async fn create_container(
        &self,
        plan: &ContainerPlan,
        body: ContainerCreateBody,
    ) -> Result<ContainerId, bollard::errors::Error> {
        let docker = self.docker_or_timeout().await?;
        let name = container_name(&self.config.ownership, &plan.id, plan.attempt.0);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        within(CALL, docker.create_container(Some(options), body))
            .await
            .map(|created| ContainerId(created.id))
    }

    async fn image_facts(&self, reference: &str) -> Result<ImageFacts, EngineFailure> {
        let docker = self.docker().await?;
        match within(CALL, docker.inspect_image(reference)).await {
            Ok(found) => {
                let config = found.config.unwrap_or_default();
                Ok(ImageFacts {
                    environment: config.env.unwrap_or_default(),
                    volumes: config.volumes.unwrap_or_default(),
                    user: config.user.unwrap_or_default(),
                })
            }
            // It was pulled a moment ago.
            Err(error) if is_missing(&error) => {
                Err(EngineFailure::ImageRemoved("the image is not on the node any more".to_owned()))
            }
            Err(error) => Err(classify(&error, During::Create)),
        }
    }
}
