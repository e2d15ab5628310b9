"""One thread for linear algebra, so that what is learnt and what is answered do not depend on the machine's size.

A matrix product that several threads share adds its terms in another order, and the last bits with it. (XGBoost's own
threads do not matter: it gives the same trees with any number of them.)
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """While this is entered, BLAS works on the thread that calls it."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _controller() -> ThreadpoolController:
    # It looks through the libraries of the process, which takes a while: once is enough.
    return ThreadpoolController()
