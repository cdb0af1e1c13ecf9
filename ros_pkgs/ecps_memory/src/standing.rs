//! Standing queries: what is put is held against them, one record at a time.

use std::collections::BTreeSet;

use crate::query::{Hit, Query};
use crate::record::{Record, namespace_or_default};
use crate::vector::cosine;

impl Query {
    /// The record as a hit of this query, if it meets every condition. Words are compared as whole words, without case.
    pub fn matches(&self, record: &Record) -> Option<Hit> {
        let in_time = self.not_before.is_none_or(|t| record.last_seen.max(record.time) >= t)
            && self.not_after.is_none_or(|t| record.time <= t);
        let valid = self.valid_at.is_none_or(|t| {
            record.valid_from.is_none_or(|from| from <= t) && record.valid_until.is_none_or(|until| t <= until)
        });
        let in_place = self.place.as_ref().is_none_or(|place| {
            let same = place.frame_id == record.frame_id && place.map_id == record.map_id;
            same && record.pose.is_some_and(|pose| place.shape.contains(pose.translation.vector.into()))
        });
        let named = namespace_or_default(&self.namespace) == namespace_or_default(&record.namespace)
            && (self.robot.is_empty() || self.robot == record.robot)
            && self.labels.iter().all(|label| record.labels.contains(label));
        if !(in_time && valid && in_place && named && words(&self.text).is_subset(&words(&record.text))) {
            return None;
        }
        let similarity = match &self.likeness {
            None => None,
            Some(likeness) => {
                let same = likeness.model_id == record.model_id && likeness.embedding.len() == record.embedding.len();
                let similarity = same.then(|| cosine(&likeness.embedding, &record.embedding))?;
                (similarity >= self.min_sim).then_some(Some(similarity))?
            }
        };
        let relevance = similarity.map_or(1.0, |similarity| similarity.clamp(0.0, 1.0));
        let (recency, importance) = (1.0, record.importance);
        let score = similarity.unwrap_or(relevance);
        Some(Hit { record: record.clone(), similarity, text_score: None, score, relevance, recency, importance })
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Likeness;

    #[test]
    fn all_conditions_hold_or_it_is_no_match() {
        let record = Record {
            embedding: vec![1.0, 0.0],
            model_id: "toy".into(),
            text: "The red cup!".into(),
            labels: vec!["cup".into()],
            robot: "r1".into(),
            ..Record::default()
        };
        let likeness = Some(Likeness { model_id: "toy".into(), embedding: vec![1.0, 0.1] });
        let good = Query { likeness, text: "cup RED".into(), labels: vec!["cup".into()], ..Query::default() };
        assert!((good.matches(&record).unwrap().similarity.unwrap() - 0.995).abs() < 1e-3);
        for bad in [
            Query { text: "cups".into(), ..good.clone() },
            Query { labels: vec!["door".into()], ..good.clone() },
            Query { robot: "r2".into(), ..good.clone() },
            Query { namespace: "other".into(), ..good.clone() },
            Query { min_sim: 0.999, ..good.clone() },
            Query { not_before: Some(ecps_core::clock::Stamp(1)), ..good },
        ] {
            assert!(bad.matches(&record).is_none(), "{bad:?}");
        }
    }
}
