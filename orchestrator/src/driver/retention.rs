//! Old entries fall out of the event log with time, not only when new ones come.

use super::Driver;

impl Driver {
    /// Lets some of what is old enough fall out, with the next commit.
    pub(super) fn expire_events(&mut self) {
        let now = self.now().wall;
        if self.ports.events.has_expired(now) {
            self.ports.events.expire(now, &mut self.pipeline.open().unpublished);
        }
    }
}
