"""The three hospitals of the simulation: what they treat, what they charge, and when their year is busy.

Nothing here is about a real hospital or a real person. Every figure was made up for this example.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DIAGNOSES: dict[str, dict[str, tuple[float, float]]] = {
    "cardiology": {
        "heart_failure": (3900, 0.9), "infarction": (7200, 0.5), "arrhythmia": (2100, 1.0), "hypertension": (480, 1.3),
    },
    "orthopaedics": {
        "fracture": (2600, 1.2), "hip_replacement": (9800, 0.4), "back_pain": (420, 1.3), "knee_injury": (1500, 0.9),
    },
    "surgery": {
        "appendicitis": (4100, 0.6), "gallstones": (3700, 0.6), "hernia": (2900, 0.7), "wound": (340, 1.2),
    },
    "internal": {
        "pneumonia": (3300, 1.0), "diabetes": (760, 1.4), "infection": (1250, 1.2), "renal_failure": (5200, 0.6),
    },
    "neurology": {
        "stroke": (8100, 0.5), "epilepsy": (1900, 0.6), "migraine": (390, 1.1), "concussion": (820, 0.9),
    },
    "oncology": {
        "chemotherapy": (4600, 1.0), "tumour_surgery": (12500, 0.3), "radiotherapy": (3400, 0.6), "follow_up": (560, 1.1),
    },
    "paediatrics": {
        "fever": (310, 1.5), "asthma": (890, 0.9), "bronchiolitis": (1700, 0.6), "observation": (610, 0.7),
    },
    "maternity": {
        "birth": (4300, 1.1), "caesarean": (7600, 0.4), "pregnancy_check": (290, 1.4), "newborn_care": (1600, 0.7),
    },
}  # fmt: skip
"""Department to diagnosis groups; each with its usual cost at price level 1 and its share within the department."""

SEASONAL = ("pneumonia", "infection", "fever", "bronchiolitis", "fracture", "knee_injury", "concussion", "wound")
"""The groups that come and go with a hospital's season."""

CHRONIC = ("heart_failure", "diabetes", "renal_failure", "epilepsy", "chemotherapy", "follow_up", "asthma", "back_pain")
"""The groups that bring the same patient back again and again."""


@dataclass(frozen=True, slots=True)
class Hospital:
    """One tenant of the example."""

    tenant: str
    prefix: str
    visits_per_month: int
    price_level: float
    middle_age: float = 42.0
    mix: dict[str, float] = field(default_factory=dict)  # department to its share, 1 where nothing is said
    season_peak: float = 1.0  # the month (1-12) in which the seasonal groups are most frequent
    season_swing: float = 0.3  # how much more frequent they are then
    private_share: float = 0.15
    median_days_to_bill: float = 6.0


HOSPITALS = (
    Hospital(
        tenant="st-mary", prefix="SM", visits_per_month=620, price_level=1.0, middle_age=44.0, season_peak=1.0,
        season_swing=0.25, mix={"internal": 1.3, "maternity": 1.2}, private_share=0.12,
    ),
    Hospital(
        tenant="lakeside", prefix="LS", visits_per_month=520, price_level=0.72, middle_age=32.0, season_peak=7.5,
        season_swing=0.45, mix={"paediatrics": 1.6, "surgery": 1.2, "oncology": 0.5}, private_share=0.08,
        median_days_to_bill=7.0,
    ),
    Hospital(
        tenant="alpine-clinic", prefix="AC", visits_per_month=360, price_level=1.85, middle_age=49.0, season_peak=1.5,
        season_swing=0.6, mix={"orthopaedics": 2.6, "maternity": 0.3}, private_share=0.45, median_days_to_bill=5.0,
    ),
)  # fmt: skip

DRIFTED = "lakeside"
"""The hospital whose last month is different: older patients, more cardiology, dearer, a column half empty."""
CALM = "st-mary"
"""The hospital whose last month is like every other."""
QUIET = "alpine-clinic"
"""The hospital that asks for so few predictions in the last month that nothing can be said honestly."""
