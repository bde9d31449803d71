//! Which images go when the disk fills: those that this worker has fetched itself, the least recently used first, and
//! never one that something here runs on, is about to run on, or has a container of.
//!
//! Images are removed by the name that they were fetched under, and never by force: what the host's owner has under a
//! name of his own stays. One is removed at a time, and then the disk is looked at again, because only the engine knows
//! what an image shares with others. Nothing is begun on an image while it is being removed. Names are compared spelt out
//! ([`ImageReference::canonical`]): `busybox` and `docker.io/library/busybox:latest` are one to the engine.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::image::ImageReference;
use lode_protocol::units::{Millis, Timestamp};
use minicbor::{Decode, Encode};

use crate::effect::WantedImage;
use crate::event::{DiskSpace, Origin, PulledImage};
use crate::journal::Change;

/// A use is written down again only after this time: that an image is in use is not news.
const USE_IS_NEWS: Millis = Millis::seconds(3_600);

/// When images go, as hundredths of the disk in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageWatermarks {
    /// Above it they begin to go.
    pub above: u8,
    /// Until it is no more than this.
    pub until: u8,
}

/// What is remembered of an image that was fetched.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct FetchedImage {
    /// As the engine knows it.
    #[n(0)]
    pub content: String,
    /// When something was begun on it, or ran on it, last.
    #[n(1)]
    pub used: Timestamp,
}

/// Names of images that something here needs, spelt out.
pub(crate) type InUse = BTreeSet<String>;

/// A name spelt out; an id in the engine as it is.
pub(crate) fn full_name(name: &str) -> String {
    let parsed = name.parse::<ImageReference>();
    parsed.map_or_else(|_| name.to_owned(), |image| image.canonical().to_string())
}

/// The images that this worker has fetched.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    watermarks: Option<ImageWatermarks>,
    fetched: BTreeMap<ImageReference, FetchedImage>,
    /// The disk was above the mark, and is not below the other one yet.
    collecting: bool,
    removing: Option<ImageReference>,
}

impl Images {
    pub(crate) fn recover(
        images: Vec<(ImageReference, FetchedImage)>,
        watermarks: Option<ImageWatermarks>,
    ) -> Self {
        let fetched = images.into_iter().collect();
        Self { watermarks, fetched, collecting: false, removing: None }
    }

    /// Something is begun on an image. What was there before this worker came is none of its business.
    pub(crate) fn pulled(
        &mut self,
        image: &ImageReference,
        pulled: &PulledImage,
        now: Timestamp,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        // A tag may be moved away from content that then has this name only.
        let content = pulled.name.parse::<ImageReference>().ok().filter(|content| content.digest().is_some());
        let (asked, content) = (image.canonical(), content.map(|content| content.canonical()));
        let is_new = |name: &ImageReference| match pulled.origin {
            Origin::Present => false,
            Origin::Renewed => content.as_ref() == Some(name),
            Origin::Fetched => true,
        };
        let names: BTreeSet<&ImageReference> =
            [Some(&asked), content.as_ref()].into_iter().flatten().collect();
        for name in names {
            if is_new(name) || self.fetched.contains_key(name) {
                let kept = FetchedImage { content: full_name(&pulled.name), used: now };
                changes.push(Change::image(name, Some(&kept)));
                self.fetched.insert(name.clone(), kept);
            }
        }
        changes
    }

    /// Whether the disk is worth a look.
    pub(crate) fn wants_survey(&self) -> bool {
        self.watermarks.is_some() && !self.fetched.is_empty() && self.removing.is_none()
    }

    /// Whether an image that is wanted is on its way out.
    pub(crate) fn is_being_removed(&self, wanted: &WantedImage) -> bool {
        let Some(removing) = &self.removing else { return false };
        let content = self.fetched.get(removing).map(|known| known.content.as_str());
        [&wanted.image, &wanted.named]
            .into_iter()
            .map(ImageReference::canonical)
            .any(|image| image == *removing || content == Some(image.to_string().as_str()))
    }

    /// The disk was looked at: the next image to go, if one has to.
    pub(crate) fn surveyed(
        &mut self,
        space: Option<DiskSpace>,
        in_use: &InUse,
        now: Timestamp,
    ) -> (Option<ImageReference>, Vec<Change>) {
        let changes = self.note_uses(in_use, now);
        let (Some(marks), Some(share)) = (self.watermarks, space.and_then(used_share)) else {
            return (None, changes);
        };
        self.collecting = if self.collecting { share > marks.until } else { share > marks.above };
        if !self.collecting || self.removing.is_some() {
            return (None, changes);
        }
        let unused = self.fetched.iter().filter(|(name, known)| !is_used(name, known, in_use));
        self.removing = unused.min_by_key(|(_, known)| known.used).map(|(name, _)| name.clone());
        (self.removing.clone(), changes)
    }

    /// A removal has ended. What the engine did not remove, because something uses it after all, is the last to be tried
    /// again.
    pub(crate) fn removed(&mut self, image: &ImageReference, done: bool, now: Timestamp) -> Option<Change> {
        self.removing.take_if(|removing| removing == image);
        if done {
            return self.fetched.remove(image).map(|_| Change::image(image, None));
        }
        let known = self.fetched.get_mut(image)?;
        known.used = now;
        Some(Change::image(image, Some(known)))
    }

    fn note_uses(&mut self, in_use: &InUse, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, known) in &mut self.fetched {
            if is_used(name, known, in_use) && now.since(known.used) >= USE_IS_NEWS {
                known.used = now;
                changes.push(Change::image(name, Some(known)));
            }
        }
        changes
    }
}

fn is_used(name: &ImageReference, known: &FetchedImage, in_use: &InUse) -> bool {
    in_use.contains(&known.content) || in_use.contains(&name.to_string())
}

/// Hundredths of the disk that are in use, rounded up: with nothing left it is all of it.
fn used_share(space: DiskSpace) -> Option<u8> {
    let total = u128::from(space.total.0);
    let used = total.saturating_sub(u128::from(space.free.0));
    u8::try_from((used * 100).div_ceil(total.max(1))).ok().filter(|_| total > 0)
}

#[cfg(test)]
mod tests {
    use lode_protocol::task::PullPolicy;
    use lode_protocol::units::Bytes;

    use super::*;

    const MARKS: ImageWatermarks = ImageWatermarks { above: 85, until: 70 };

    fn reference(text: &str) -> ImageReference {
        text.parse().unwrap()
    }

    fn used(share: u64) -> Option<DiskSpace> {
        Some(DiskSpace { total: Bytes::gibi(100), free: Bytes::gibi(100 - share) })
    }

    fn content(digit: char) -> String {
        format!("r.example/a@sha256:{}", digit.to_string().repeat(64))
    }

    /// Three images, fetched one after the other: by digest, so that each has one name.
    fn three() -> Images {
        let mut images = Images::recover(Vec::new(), Some(MARKS));
        for (at, digit) in [(1, '1'), (2, '2'), (3, '3')] {
            let pulled = PulledImage { name: content(digit), origin: Origin::Fetched };
            let changes = images.pulled(&reference(&content(digit)), &pulled, Timestamp(at));
            assert!(!changes.is_empty());
        }
        images
    }

    fn next(images: &mut Images, share: u64, in_use: &[&str]) -> Option<String> {
        let in_use = in_use.iter().map(|name| (*name).to_owned()).collect();
        let (victim, _) = images.surveyed(used(share), &in_use, Timestamp(10));
        victim.map(|image| image.to_string())
    }

    #[test]
    fn nothing_goes_below_the_mark_and_above_it_the_least_recently_used_goes_first_until_the_other_mark() {
        let mut images = three();
        assert_eq!(next(&mut images, 85, &[]), None);
        assert_eq!(next(&mut images, 86, &[]), Some(content('1')));
        assert_eq!(next(&mut images, 86, &[]), None, "one at a time");
        assert!(!images.wants_survey());
        assert!(images.removed(&reference(&content('1')), true, Timestamp(11)).is_some());
        assert_eq!(next(&mut images, 71, &[]), Some(content('2')), "it goes on until there is room again");
        images.removed(&reference(&content('2')), true, Timestamp(11));
        assert_eq!(next(&mut images, 70, &[]), None);
        assert_eq!(next(&mut images, 80, &[]), None, "it begins at the upper mark only");
    }

    #[test]
    fn what_is_in_use_or_about_to_be_stays_by_whatever_name_it_is_known() {
        let mut images = three();
        assert_eq!(next(&mut images, 99, &[&content('1'), &content('2'), &content('3')]), None);
        assert_eq!(next(&mut images, 99, &[&content('1'), &content('2')]), Some(content('3')));
        let mut images = Images::recover(Vec::new(), Some(MARKS));
        let pulled = PulledImage { name: content('4'), origin: Origin::Fetched };
        assert_eq!(
            images.pulled(&reference("r.example/a:1"), &pulled, Timestamp(1)).len(),
            2,
            "tag and content"
        );
        assert_eq!(next(&mut images, 99, &[&content('4')]), None, "a tag whose content runs");
    }

    #[test]
    fn a_use_makes_an_image_younger_also_one_that_needed_no_pull() {
        let mut images = three();
        let again = images.pulled(&reference(&content('1')), &content('1').into(), Timestamp(9));
        assert!(!again.is_empty());
        assert_eq!(next(&mut images, 99, &[]), Some(content('2')));
        let mut images = three();
        let late = Timestamp(10 + USE_IS_NEWS.0);
        let (none, changes) = images.surveyed(used(1), &InUse::from([content('1')]), late);
        assert_eq!((none, changes.len()), (None, 1));
        assert_eq!(next(&mut images, 99, &[]), Some(content('2')), "what ran until now was used now");
    }

    #[test]
    fn an_image_that_was_there_before_is_never_removed() {
        let mut images = Images::recover(Vec::new(), Some(MARKS));
        assert!(images.pulled(&reference("owner/image:1"), &content('1').into(), Timestamp(1)).is_empty());
        assert_eq!(next(&mut images, 100, &[]), None);
        assert!(!images.wants_survey());
        // A name of the owner's that was given new content stays; the content that came goes by its own name.
        let renewed = PulledImage { name: content('2'), origin: Origin::Renewed };
        assert_eq!(images.pulled(&reference("r.example/a:1"), &renewed, Timestamp(1)).len(), 1);
        assert_eq!(next(&mut images, 100, &[]), Some(content('2')));
    }

    #[test]
    fn what_the_engine_keeps_is_tried_last_and_the_collection_goes_on_with_the_others() {
        let mut images = three();
        assert_eq!(next(&mut images, 99, &[]), Some(content('1')));
        images.removed(&reference(&content('1')), false, Timestamp(11));
        assert_eq!(next(&mut images, 99, &[]), Some(content('2')));
    }

    #[test]
    fn an_image_on_its_way_out_is_not_begun_on_by_any_of_its_names() {
        let mut images = three();
        next(&mut images, 99, &[]);
        let wanted = |text: &str| WantedImage::as_named(reference(text), PullPolicy::Missing);
        assert!(images.is_being_removed(&wanted(&content('1'))));
        assert!(!images.is_being_removed(&wanted(&content('2'))));
        let mut images = Images::recover(Vec::new(), Some(MARKS));
        let id = PulledImage { name: "sha256:1".to_owned(), origin: Origin::Fetched };
        images.pulled(&reference("busybox"), &id, Timestamp(1));
        assert_eq!(next(&mut images, 99, &["docker.io/library/busybox:latest"]), None, "one name, spelt out");
        assert!(next(&mut images, 99, &[]).is_some());
        for name in ["busybox", "library/busybox:latest", "docker.io/busybox"] {
            assert!(images.is_being_removed(&wanted(name)), "{name}");
        }
        let mut images = three();
        next(&mut images, 99, &[]);
        images.removed(&reference(&content('1')), true, Timestamp(11));
        assert!(!images.is_being_removed(&wanted(&content('1'))));
    }

    #[test]
    fn a_disk_that_cannot_be_seen_removes_nothing_and_a_collection_that_is_off_neither() {
        let mut images = three();
        assert_eq!(images.surveyed(None, &InUse::new(), Timestamp(1)).0, None);
        let empty = DiskSpace { total: Bytes(0), free: Bytes(0) };
        assert_eq!(images.surveyed(Some(empty), &InUse::new(), Timestamp(1)).0, None);
        let mut off = Images { watermarks: None, ..three() };
        assert_eq!(next(&mut off, 100, &[]), None);
        assert!(!off.wants_survey());
    }
}
