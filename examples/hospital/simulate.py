"""The simulation: visits of one hospital over two years and a few months, as arrays of equal length.

A patient who is ill for good comes back often, and costs more or less than others with the same diagnosis; a diagnosis
has a price that wanders slowly; each hospital has its own price level, case mix and season. So a model that looks only
at the visit misses what the patient's and the diagnosis's history knows. **All of it is made up.**
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from examples.hospital.hospitals import CHRONIC, DIAGNOSES, DRIFTED, HOSPITALS, SEASONAL, Hospital

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]

FIRST_DAY = np.datetime64("2023-01-01")
LAST_MONTH = np.datetime64("2025-04-01")  # the month that is asked for in the last step of the story
END = np.datetime64("2025-05-01")

GROUPS = [(department, group) for department, groups in DIAGNOSES.items() for group in groups]
DEPARTMENTS = list(DIAGNOSES)
INSURANCE = ("public", "private", "none")
SEXES = ("f", "m", "x")
NO_INSURANCE_NOTED = -1

_BASE_COST = np.array([DIAGNOSES[department][group][0] for department, group in GROUPS])
_DEPARTMENT = np.array([DEPARTMENTS.index(department) for department, _ in GROUPS])
_SEASONAL = np.array([group in SEASONAL for _, group in GROUPS])
_OLD_AGE = np.array([department in ("cardiology", "oncology", "neurology") for department in DEPARTMENTS])
_BILLING_PACE = np.array([{"oncology": 1.4, "surgery": 1.2, "paediatrics": 0.7}.get(name, 1.0) for name in DEPARTMENTS])
_HOUR_WEIGHT = np.array([2, 2, 1, 1, 1, 2, 3, 5, 8, 10, 11, 10, 9, 9, 9, 8, 8, 8, 7, 7, 6, 5, 4, 3], dtype=np.float64)


@dataclass(frozen=True)
class Visits:
    """The visits of one hospital in order of admission; times in whole seconds, money in cents, lengths in tenths of a day."""

    patient: Ints
    admitted: Days
    group: Ints
    triage: Ints
    age: Ints
    sex: Ints
    insurance: Ints
    planned: npt.NDArray[np.bool_]
    discharged: Days
    stay_tenths: Ints
    billed: Days
    bill_cents: Ints

    def __len__(self) -> int:
        return len(self.patient)


@dataclass(frozen=True)
class _Patients:
    """Everybody who may come. The first `chronic` of them have an illness that brings them back."""

    chronic: int
    frequency: Floats
    illness: Ints
    born: Ints
    sex: Ints
    insurance: Ints
    cost_factor: Floats


def simulate(hospital: Hospital, *, seed: int, scale: float) -> Visits:
    """All visits from the first day to the end of the last month. The same arguments give the same visits."""
    rng = np.random.default_rng([seed, [h.tenant for h in HOSPITALS].index(hospital.tenant)])
    patients = _patients(rng, hospital, scale)
    admitted, planned = _admissions(rng, hospital, scale)
    changed = (admitted >= LAST_MONTH) & (hospital.tenant == DRIFTED)

    visits = len(admitted)
    is_chronic = rng.random(visits) < 0.42
    patient = np.where(
        is_chronic,
        rng.choice(patients.chronic, size=visits, p=patients.frequency),
        _others(rng, patients, changed),
    )
    group = _groups(rng, hospital, admitted, changed)
    group = np.where(is_chronic & (rng.random(visits) < 0.7), patients.illness[patient], group)
    age = np.clip(admitted.astype("datetime64[Y]").astype(np.int64) + 1970 - patients.born[patient], 0, 104)
    group = _plausible(group, age, patients.sex[patient])
    triage = np.clip(np.rint(rng.normal(3.1 - 0.35 * _OLD_AGE[_DEPARTMENT[group]], 1.0, visits)), 1, 5).astype(np.int64)
    insurance = patients.insurance[patient].copy()
    insurance[rng.random(visits) < np.where(changed, 0.38, 0.02)] = NO_INSURANCE_NOTED

    usual = _usual_cost(rng, hospital, admitted, group, triage, age, planned) * patients.cost_factor[patient]
    usual *= np.where(patients.insurance[patient] == INSURANCE.index("private"), 1.15, 1.0) * np.where(
        changed, 1.4, 1.0
    )
    complications = np.where(rng.random(visits) < 0.02, rng.uniform(1.8, 3.5, visits), 1.0)
    bill = usual * complications * rng.lognormal(0.0, 0.3, visits)
    stay = (0.2 + np.sqrt(bill / hospital.price_level) / 18) * rng.lognormal(0.0, 0.35, visits)
    discharged = admitted + np.rint(stay * 86_400).astype("timedelta64[s]")
    days_to_bill = hospital.median_days_to_bill * _BILLING_PACE[_DEPARTMENT[group]] * rng.lognormal(0.0, 0.5, visits)
    return Visits(
        patient=patient,
        admitted=admitted,
        group=group,
        triage=triage,
        age=age,
        sex=patients.sex[patient],
        insurance=insurance,
        planned=planned,
        discharged=discharged,
        stay_tenths=np.rint(stay * 10).astype(np.int64),
        billed=discharged + np.rint(days_to_bill * 86_400).astype("timedelta64[s]"),
        bill_cents=np.rint(bill * 100).astype(np.int64),
    )


def _patients(rng: np.random.Generator, hospital: Hospital, scale: float) -> _Patients:
    monthly = hospital.visits_per_month * scale
    chronic, everybody = max(240, int(monthly * 0.45)), max(3000, int(monthly * 14))
    frequency = rng.gamma(2.0, 1.0, chronic)
    chronic_groups = np.array([index for index, (_, group) in enumerate(GROUPS) if group in CHRONIC])
    return _Patients(
        chronic=chronic,
        frequency=frequency / frequency.sum(),
        illness=rng.choice(chronic_groups, size=everybody),
        born=2024 - np.rint(np.abs(rng.normal(hospital.middle_age, 21, everybody))).astype(np.int64),
        sex=rng.choice(len(SEXES), size=everybody, p=[0.52, 0.475, 0.005]),
        insurance=rng.choice(
            len(INSURANCE), size=everybody, p=[0.96 - hospital.private_share, hospital.private_share, 0.04]
        ),
        cost_factor=rng.lognormal(0.0, 0.5, everybody),
    )


def _admissions(rng: np.random.Generator, hospital: Hospital, scale: float) -> tuple[Days, npt.NDArray[np.bool_]]:
    """When somebody comes: planned visits on working days in working hours, the others at any time."""
    days = np.arange(FIRST_DAY, END)
    expected = np.full(len(days), hospital.visits_per_month * scale / 30.4)
    # A small platform still needs a last month in which something can be seen.
    expected = np.where(days >= LAST_MONTH, np.maximum(expected, 11.0), expected)
    visits = rng.poisson(expected)
    day = np.repeat(days, visits)
    weekday = _weekday(day)
    planned = (rng.random(len(day)) < 0.38) & (weekday < 5)
    hour = np.where(
        planned, rng.integers(7, 16, len(day)), rng.choice(24, size=len(day), p=_HOUR_WEIGHT / _HOUR_WEIGHT.sum())
    )
    second = hour * 3600 + rng.integers(0, 3600, len(day))
    admitted = day.astype("datetime64[s]") + second.astype("timedelta64[s]")
    order = np.argsort(admitted, kind="stable")
    return admitted[order], planned[order]


def _others(rng: np.random.Generator, patients: _Patients, changed: npt.NDArray[np.bool_]) -> Ints:
    """Patients who come now and then; where the population has changed, mostly old ones."""
    candidates = np.arange(patients.chronic, len(patients.born))
    age = 2025 - patients.born[candidates]
    older = np.exp(0.045 * age)
    usual = rng.choice(candidates, size=len(changed))
    return np.where(changed, rng.choice(candidates, size=len(changed), p=older / older.sum()), usual)


def _groups(rng: np.random.Generator, hospital: Hospital, admitted: Days, changed: npt.NDArray[np.bool_]) -> Ints:
    """The diagnosis group of each visit, by the hospital's case mix and the season."""
    month = admitted.astype("datetime64[M]").astype(np.int64) % 12 + 1
    season = np.cos((month - hospital.season_peak) / 12 * 2 * np.pi)
    share = np.array(
        [DIAGNOSES[department][group][1] * hospital.mix.get(department, 1.0) for department, group in GROUPS]
    )
    weights = share * (1 + np.outer(season, _SEASONAL * hospital.season_swing))
    moved = {"cardiology": 3.2, "paediatrics": 0.3, "maternity": 0.4}
    weights[changed] *= np.array([moved.get(department, 1.0) for department, _ in GROUPS])
    borders = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    return np.minimum((borders < rng.random(len(admitted))[:, None]).sum(axis=1), len(GROUPS) - 1).astype(np.int64)


def _plausible(group: Ints, age: Ints, sex: Ints) -> Ints:
    """Children go to paediatrics and nobody else does; maternity is for women of the right age."""
    department, place = _DEPARTMENT[group], group % 4  # every department has four groups
    child, paediatrics = age < 17, DEPARTMENTS.index("paediatrics")
    mother = (sex == SEXES.index("f")) & (age >= 17) & (age < 48)
    department = np.where((department == paediatrics) & ~child, DEPARTMENTS.index("internal"), department)
    department = np.where(
        (department == DEPARTMENTS.index("maternity")) & ~mother, DEPARTMENTS.index("surgery"), department
    )
    return np.where(child, paediatrics, department) * 4 + place


def _usual_cost(
    rng: np.random.Generator,
    hospital: Hospital,
    admitted: Days,
    group: Ints,
    triage: Ints,
    age: Ints,
    planned: npt.NDArray[np.bool_],
) -> Floats:
    """What such a visit costs, before the patient's own level and chance."""
    month = (admitted.astype("datetime64[M]") - FIRST_DAY.astype("datetime64[M]")).astype(np.int64)
    wander = np.zeros((int(month.max()) + 1, len(GROUPS)))
    for step in range(1, len(wander)):
        wander[step] = 0.85 * wander[step - 1] + rng.normal(0, 0.02, len(GROUPS))
    years = (admitted - FIRST_DAY.astype("datetime64[s]")).astype(np.float64) / (365 * 86_400)
    night = (_weekday(admitted) >= 5) * 0.08
    effect = wander[month, group] + 0.02 * years + 0.16 * (3 - triage) + 0.005 * (age - 45) - 0.2 * planned + night
    return _BASE_COST[group] * hospital.price_level * np.exp(effect)


def _weekday(moments: Days) -> Ints:
    """0 is Monday."""
    return (moments.astype("datetime64[D]").astype(np.int64) + 3) % 7
