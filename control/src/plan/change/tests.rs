//! What makes a new revision, and what does not.
#![allow(clippy::unwrap_used)]

use super::*;

pub(in crate::plan) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

pub(in crate::plan) fn name() -> PoolName {
    "edge".parse().unwrap()
}

pub(in crate::plan) fn pool(port: u32, replicas: Option<u32>) -> v1::Pool {
    let listener = v1::Listener { name: "echo".into(), port, ..Default::default() };
    let template = v1::PoolTemplate { listeners: vec![listener], ..Default::default() };
    let spec = v1::PoolSpec { replicas, template: Some(template), ..Default::default() };
    v1::Pool { spec: Some(spec), metadata: Some(v1::ObjectMeta::default()), ..Default::default() }
}

fn created() -> v1::PoolRecord {
    create(&name(), &pool(7, None), 0, &Request::default(), NOW).record
}

fn applied(stored: &v1::PoolRecord, pool: &v1::Pool) -> Option<Changed> {
    apply(&name(), stored, Beside::default(), pool, &Request { author: "ann".into(), ..Default::default() }, NOW)
}

fn n(changed: &Changed) -> (u32, u32, Option<u32>) {
    let stored = changed.record.revision.as_ref().unwrap().n;
    let new = changed.revision.as_ref().map(|r| r.revision.as_ref().unwrap().n);
    (changed.record.metadata.as_ref().unwrap().generation, stored, new)
}

#[test]
fn a_new_pool_has_an_identity_and_revision_1() {
    let changed = create(&name(), &pool(7, None), 0, &Request::default(), NOW);
    assert_eq!(n(&changed), (1, 1, Some(1)));
    assert_eq!(replicas(&changed.record), DEFAULT_REPLICAS);
    let revision = changed.revision.unwrap();
    assert_eq!(revision.metadata.unwrap().name, "edge-1");
    assert_eq!(revision.revision.unwrap().uid, changed.record.metadata.unwrap().uid);
    assert_eq!(changed.event.message, "created with 3 nodes; revision 1");
}

#[test]
fn only_another_template_is_another_revision() {
    let stored = created();
    assert_eq!(applied(&stored, &pool(7, None)), None, "replicas that are absent stay as they are");
    let scaled = applied(&stored, &pool(7, Some(5))).unwrap();
    assert_eq!(
        (n(&scaled), scaled.event.message.as_str()),
        ((2, 1, None), "changed by apply; scaled from 3 to 5 nodes")
    );
    let changed = applied(&stored, &pool(8, None)).unwrap();
    assert_eq!(n(&changed), (2, 2, Some(2)));
    assert_eq!(replicas(&changed.record), DEFAULT_REPLICAS);
    assert_eq!((changed.event.actor.as_str(), changed.record.author.as_str()), ("ann", "ann"));
}

#[test]
fn labels_are_no_part_of_the_spec() {
    let stored = created();
    let mut labelled = pool(7, None);
    labelled.metadata.as_mut().unwrap().labels.insert("team".into(), "net".into());
    assert_eq!(n(&applied(&stored, &labelled).unwrap()), (1, 1, None));
}

#[test]
fn what_was_taken_back_can_be_tried_again() {
    let stored = created();
    let mut rollout = v1::Rollout { to: stored.revision.clone(), ..Default::default() };
    let again = |rollout: &v1::Rollout| {
        apply(
            &name(),
            &stored,
            Beside { rollout: Some(rollout), ..Beside::default() },
            &pool(7, None),
            &Request::default(),
            NOW,
        )
        .map(|c| n(&c))
    };
    rollout.set_phase(v1::RolloutPhase::Completed);
    assert_eq!(again(&rollout), None);
    rollout.set_phase(v1::RolloutPhase::Reverted);
    assert_eq!(again(&rollout), Some((2, 2, Some(2))));
    rollout.to = None;
    assert_eq!(again(&rollout), None, "another revision was taken back");
}

#[test]
fn scaling_changes_the_number_and_nothing_else() {
    let mut stored = created();
    stored.author = "ann".into();
    let request = Request { author: "bob".into(), ..Default::default() };
    let changed = scale(&name(), &stored, 10, &request, NOW).unwrap();
    assert_eq!((n(&changed), replicas(&changed.record)), ((2, 1, None), 10));
    assert_eq!((changed.event.actor.as_str(), changed.record.author.as_str()), ("bob", "ann"));
    assert_eq!((changed.event.from.as_str(), changed.event.to.as_str()), ("3", "10"));
    assert_eq!(scale(&name(), &changed.record, 10, &request, NOW), None);
}

#[test]
fn how_a_revision_goes_is_told_by_who_made_it() {
    let staged = applied(&created(), &pool(8, None)).unwrap().record;
    let at_once = Request { author: "bob".into(), message: "more".into(), now: true };
    let bob = |stored: &v1::PoolRecord, pool: &v1::Pool| {
        let changed = apply(&name(), stored, Beside::default(), pool, &at_once, NOW).unwrap();
        let told = in_vain(&name(), Some(stored), &changed.record, at_once.now);
        (changed, told)
    };
    let (scaled, told) = bob(&staged, &pool(8, Some(5)));
    assert_eq!((scaled.revision, scaled.event.actor.as_str()), (None, "bob"));
    let how = |record: &v1::PoolRecord| (record.now, record.author.clone(), record.message.clone());
    assert_eq!(how(&scaled.record), how(&staged), "the revision that waits still goes in steps");
    assert!(told.unwrap().starts_with("pool/edge: --now changes nothing"));
    assert!(in_vain(&name(), Some(&staged), &staged, true).is_some(), "nor where nothing changes at all");

    let (whole, told) = bob(&staged, &pool(9, None));
    assert_eq!((how(&whole.record), told), ((true, "bob".to_owned(), "more".to_owned()), None));
    let again = applied(&whole.record, &pool(9, Some(6))).unwrap();
    assert!(again.record.now && again.record.author == "bob", "and one that goes at once still does");
    assert_eq!(in_vain(&name(), Some(&again.record), &again.record, true), None);
    assert_eq!(in_vain(&name(), None, &whole.record, true), None);
}

#[test]
fn an_undo_is_a_new_revision_with_the_old_template() {
    let first = create(&name(), &pool(7, None), 0, &Request::default(), NOW);
    let second = applied(&first.record, &pool(8, None)).unwrap();
    let undone = undo(&name(), &second.record, &first.revision.clone().unwrap(), &Request::default(), NOW);
    assert_eq!(n(&undone), (3, 3, Some(3)));
    let revision = undone.revision.unwrap();
    assert_eq!(revision.template, first.revision.clone().unwrap().template);
    assert_eq!(revision.message, "undo to revision 1");
    let why = Request { message: "too slow".into(), ..Default::default() };
    let undone = undo(&name(), &second.record, &first.revision.unwrap(), &why, NOW);
    assert_eq!(undone.revision.unwrap().message, "too slow");
}

/// Autoscaled, 2 to 6 nodes.
fn autoscaled() -> v1::Pool {
    let rule = v1::Autoscale { min_replicas: Some(2), max_replicas: 6, ..Default::default() };
    let mut pool = pool(7, None);
    pool.spec.as_mut().unwrap().autoscale = Some(rule);
    pool
}

#[test]
fn an_autoscaler_goes_on_from_the_number_there_is_and_leaves_its_own() {
    let new = create(&name(), &autoscaled(), 0, &Request::default(), NOW);
    assert_eq!((new.number, new.record.spec.as_ref().unwrap().replicas), (Number::Begins(2), None));
    assert!(new.event.message.starts_with("created with 2 nodes"), "{}", new.event.message);
    assert_eq!(applied(&new.record, &autoscaled()), None, "its number is no part of the file");

    let begun = |replicas| {
        let stored = create(&name(), &pool(7, Some(replicas)), 0, &Request::default(), NOW).record;
        let changed = applied(&stored, &autoscaled()).unwrap();
        assert_eq!(changed.record.spec.as_ref().unwrap().replicas, None);
        changed.number
    };
    assert_eq!([1, 4, 9].map(begun), [2, 4, 6].map(Number::Begins));

    let ended = |scale: Option<u32>, replicas: Option<u32>| {
        let scale = scale.map(|replicas| v1::Scale { replicas, ..Default::default() });
        let file = pool(7, replicas);
        let changed = apply(
            &name(),
            &new.record,
            Beside { scale: scale.as_ref(), ..Beside::default() },
            &file,
            &Request::default(),
            NOW,
        )
        .unwrap();
        assert_eq!(changed.number, Number::Ends);
        (replicas_of(&changed), changed.event.message)
    };
    assert_eq!(ended(Some(5), None), (5, "changed by apply; no longer autoscaled".to_owned()));
    assert_eq!(ended(None, None).0, 2, "nobody has decided anything yet");
    let told = "changed by apply; no longer autoscaled; scaled from 5 to 1 node".to_owned();
    assert_eq!(ended(Some(5), Some(1)), (1, told));
}

#[test]
fn a_new_pool_whose_nodes_are_there_already_begins_with_them() {
    let begun = |pool: &v1::Pool, there| {
        let new = create(&name(), pool, there, &Request::default(), NOW);
        (new.number, new.record.spec.unwrap().replicas)
    };
    assert_eq!([1, 4, 9].map(|there| begun(&autoscaled(), there).0), [2, 4, 6].map(Number::Begins));
    assert_eq!(begun(&pool(7, None), 20), (Number::Stays, Some(20)));
    assert_eq!(begun(&pool(7, None), 1), (Number::Stays, Some(DEFAULT_REPLICAS)));
    assert_eq!(begun(&pool(7, Some(5)), 20), (Number::Stays, Some(5)), "who names a number gets it");

    let stored = create(&name(), &autoscaled(), 0, &Request::default(), NOW).record;
    let beside = Beside { there: 5, ..Beside::default() };
    let changed = apply(&name(), &stored, beside, &pool(7, None), &Request::default(), NOW).unwrap();
    assert_eq!(replicas_of(&changed), 5, "an autoscaler whose number is lost leaves those that live");
}

#[test]
fn a_number_is_open_until_somebody_names_one() {
    let new = |pool: &v1::Pool| create(&name(), pool, 0, &Request::default(), NOW).record;
    assert_eq!(
        [pool(7, None), pool(7, Some(3)), autoscaled()].map(|pool| new(&pool).replicas_open),
        [true, false, false]
    );
    let open = new(&pool(7, None));
    let after = |file: &v1::Pool| applied(&open, file).unwrap().record.replicas_open;
    assert_eq!([pool(8, None), pool(8, Some(3)), autoscaled()].map(|file| after(&file)), [true, false, false]);
    assert!(!scale(&name(), &open, 4, &Request::default(), NOW).unwrap().record.replicas_open);
}

#[test]
fn a_backup_takes_no_node_away() {
    let kept_of = |asked: &v1::Pool, got: &v1::Pool| kept(&name(), asked.spec.as_ref(), got.spec.as_ref());
    let beside = Beside { there: 20, ..Beside::default() };
    let few = pool(7, Some(3));
    let made = keeping(&few, None, beside);
    assert_eq!(made.spec.as_ref().unwrap().replicas, Some(20));
    let told = kept_of(&few, &made).unwrap();
    assert!(told.starts_with("pool/edge keeps its 20 nodes, in place of 3; `echoctl scale"), "{told}");

    let stored = create(&name(), &pool(7, Some(5)), 0, &Request::default(), NOW).record;
    let over = |file: &v1::Pool| keeping(file, Some(&stored), beside).spec.unwrap().replicas;
    assert_eq!(over(&few), Some(5), "what is wanted, and not what is there for a while");
    assert_eq!(over(&pool(7, Some(9))), Some(9));
    assert_eq!(over(&pool(7, None)), None);
    assert_eq!(kept_of(&pool(7, Some(9)), &keeping(&pool(7, Some(9)), Some(&stored), beside)), None);

    let ruled = keeping(&autoscaled(), None, beside);
    assert_eq!(create(&name(), &ruled, 20, &Request::default(), NOW).number, Number::Begins(20));
    let told = kept_of(&autoscaled(), &ruled).unwrap();
    assert!(told.contains("maxReplicas is 20 in place of 6"), "{told}");
    assert_eq!(keeping(&autoscaled(), Some(&stored), beside), autoscaled());
}

fn replicas_of(changed: &Changed) -> u32 {
    replicas(&changed.record)
}
