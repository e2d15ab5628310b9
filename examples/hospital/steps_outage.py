"""End of step 5: the service that knows the patients' history dies, and the predictor answers on, saying what it does without."""

from __future__ import annotations

from examples.hospital.doors import MODEL
from examples.hospital.hospitals import CALM
from examples.hospital.story import StepFailed
from examples.hospital.world import World, eventually, read_rows


def lose_features(world: World) -> None:
    """Kill features, ask for a patient it was just asked about and for another one, and wait until it is back."""
    story, key, columns = world.story, world.keys[CALM], world.columns
    rows = read_rows(world.path(CALM, world.files(CALM)[-3]["name"]))
    visits = {row["patient_id"]: row for row in rows if row["insurance"]}
    patients = list(visits)
    # The last patients were asked about before; the first was not. How far back features can tell of a patient depends on
    # how often it came, so the one whose answer is to be fresh again is one whose answer is fresh now.
    other = visits[patients[0]]
    for patient in reversed(patients[1:]):
        known, before = visits[patient], world.doors.predict_rest(key, columns, visits[patient])
        if before.level == "fresh":
            break
    else:
        raise StepFailed(f"{CALM} has no patient whose history is fresh")
    story.say("Now the service that knows the patients' history is killed, as the kernel would do it.")
    world.platform.kill("features")
    again = world.doors.predict_rest(key, columns, known)
    alone = world.doors.predict_grpc(key, columns, other)
    story.check(
        again.level == "stale" and again.value == before.value,
        f"asked again for a patient of a moment ago: {again.value:,.2f}, from the history as last known (level {again.level})",
    )
    story.check(
        alone.level == "without_history",
        f"asked for another one: {alone.value:,.2f}, from the second model (level {alone.level})",
    )
    world.platform.bring_back("features")
    eventually(
        lambda: world.doors.predict_rest(key, columns, known).level == "fresh", "features is back and asked again", 120
    )
    back = world.doors.predict_rest(key, columns, known)
    if (back.level, back.value) != ("fresh", before.value):
        raise StepFailed(f"{MODEL} answered {back} with features back, {before} before")
    story.check(True, f"{world.platform.back_again}, and answers are fresh again: the very number of before")
