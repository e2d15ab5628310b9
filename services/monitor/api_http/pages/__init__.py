"""Pages for people: drawn here, with nothing from elsewhere."""

from services.monitor.api_http.pages.doors import PageRoute as PageRoute
from services.monitor.api_http.pages.doors import Visit as Visit
from services.monitor.api_http.pages.doors import page_visit as page_visit
from services.monitor.api_http.pages.doors import posted_form as posted_form
from services.monitor.api_http.pages.html import join as join
from services.monitor.api_http.pages.html import tag as tag
