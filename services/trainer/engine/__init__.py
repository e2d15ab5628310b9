"""Machine learning libraries behind the ports of the domain: scikit-learn, XGBoost, skops and the bundle format."""
