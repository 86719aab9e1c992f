"""The decisions about builds and jobs, by topic; `engine.dispatcher` names the public ones.

Each is one transaction. Locks are taken in one order by all of them, or two would wait for each
other: person (submit, retry) or engine's account (connect), engine connections, builds by id, jobs
by id, feed counters by person. Who cannot keep to it takes only what nobody has locked
(docs/engine.md). SQLite has one lock, taken as the transaction begins.
"""
