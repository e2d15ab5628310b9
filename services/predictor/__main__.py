"""`python -m services.predictor`."""

from tenon.kit.workers import run_workers

if not run_workers("services.predictor", "TENON_PREDICTOR_WORKERS"):
    # Not above: the parent of several workers imports nothing that they need.
    from services.predictor.main import main

    main()
