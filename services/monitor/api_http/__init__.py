"""The HTTP door: labels in; reports, models and verdicts out."""

from services.monitor.api_http.app import add_routes as add_routes
from services.monitor.api_http.use_cases import UseCases as UseCases
