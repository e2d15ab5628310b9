"""`python -m services.predictor` runs the service: this process, or several that share its ports."""

from tenon.kit.program import run_program
from tenon.kit.workers import run_workers


def _serve() -> None:
    if not run_workers("services.predictor", "TENON_PREDICTOR_WORKERS"):
        # Not above: the parent of several workers imports nothing that they need.
        from services.predictor.main import main

        main()


if __name__ == "__main__":
    run_program("predictor", _serve)
