//! Room for images: what assignments need of them, and when the disk is looked at.

use lode_protocol::image::ImageReference;

use super::Assignments;
use crate::assignment::Stage;
use crate::effect::Command;
use crate::event::{DiskSpace, EngineFailure, Now};
use crate::images::{InUse, full_name};

impl Assignments {
    /// The engine answers: time for a look at the disk.
    pub(crate) fn survey(&self, commands: &mut Vec<Command>) {
        if self.images.wants_survey() {
            commands.push(Command::Survey);
        }
    }

    pub(crate) fn on_surveyed(&mut self, now: Now, space: Option<DiskSpace>, commands: &mut Vec<Command>) {
        let in_use = self.images_in_use();
        let (leaving, changes) = self.images.surveyed(space, &in_use, now.wall);
        self.changes.extend(changes);
        commands.extend(leaving.map(Command::RemoveImage));
    }

    pub(crate) fn on_image_removed(
        &mut self,
        now: Now,
        image: &ImageReference,
        result: &Result<(), EngineFailure>,
        commands: &mut Vec<Command>,
    ) {
        self.changes.extend(self.images.removed(image, result.is_ok(), now.wall));
        // There may be need of more. What could not be removed is tried again after the next list of containers.
        if result.is_ok() {
            self.survey(commands);
        }
    }

    /// Every name of every image that an assignment waits for, runs on, or has a container of.
    fn images_in_use(&self) -> InUse {
        let live = self.items.values().filter(|item| item.stage != Stage::Removed);
        live.flat_map(|item| {
            let wanted = item.wanted_image();
            let creating =
                if let Stage::Creating { image } = &item.stage { Some(image.clone()) } else { None };
            let known = [item.entry.image.clone(), creating].into_iter().flatten();
            let asked = [wanted.image, wanted.named].map(|image| image.to_string());
            known.chain(asked).map(|name| full_name(&name))
        })
        .collect()
    }
}
