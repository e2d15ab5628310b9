"""What every error code means and what to do about it; the one table behind `tenon explain`.

A test compares it with the codes that the code raises.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """What a code means, and the way out."""

    meaning: str
    remedy: str


# One line a code: CODE | meaning | what to do.
_TABLE = """
ADMIN_ONLY | Only the platform's operator may do this. | Use the admin key (in embedded mode the command does so by itself; check TENON_API_KEY).
ALREADY_SERVED | The rollback would serve what is served already. | Look at `tenon release history MODEL` and name another revision with --to.
ANSWER_MALFORMED | The features service gave columns of another length than was asked for. | Bring predictor and features to the same version.
ARCHIVE_BUSY | Another replica of monitor wrote to the same archive table. | Nothing to do: it is tried again.
ARCHIVE_UNAVAILABLE | The lake table to which monitor moves its log cannot be reached. | Check TENON_BLOB_URL and the object store; nothing is lost meanwhile.
ARMS_TAKE_ALL | The weights of canary and arms leave nothing for the stable version. | Make them smaller; to give one version everything, promote it.
ARMS_TOO_MANY | A release has more arms than can be told apart. | Name at most 20.
ARM_NAME_INVALID | An arm cannot have this name. | Lower-case letters, digits, - and _, at most 10; not stable, canary or shadow.
ARM_NOT_NAMED | The release has several arms, and none was named. | `tenon release promote MODEL --arm NAME`
ARM_REPEATED | One arm is named twice. | Give each arm a name of its own.
ARM_WEIGHT_INVALID | An arm's share is not between 0.1 and 99.9 percent in steps of 0.1. | Write an arm such as --arm b=4:10.
AUTOMATIC_INVALID | How a canary shall go on by itself cannot be meant. | The message names what; docs/concepts/canary-verdicts.md.
AUTOMATIC_WITHOUT_CANARY | A release shall go on by itself that has no canary. | Add --canary VERSION --weight 5, or leave --auto out.
BASELINE_UNREAD | A version's training baseline was not read yet, so nothing can be compared with it. | Is the registry up? It is asked again by itself.
BATCH_INVALID | An entry of the prediction log cannot be read. | It is set aside as a dead letter; look at monitor's log. Usually predictor and monitor are of different versions.
BATCH_NOT_FOUND | There is no such batch of files. | The id stands in the answer of `tenon ingest --json`.
BLOBS_UNAVAILABLE | The blob store cannot be reached or written. | Check TENON_BLOB_URL, the disk's space and rights, or the bucket's credentials.
BLOB_CORRUPT | An online feature value cannot be read. | Nothing to do: the view is built again from the lake.
BLOB_NOT_FOUND | A file that should be in the blob store is not there. | Was the store emptied, or do two services use different TENON_BLOB_URLs?
BODY_NOT_COMPRESSED | The body is not in the Content-Encoding that its header says, or is cut short. | Send it again, or without the header.
BODY_TIMEOUT | The request's body did not arrive in time. | Send it again; look at the network or at proxies in between.
BODY_TOO_COMPLEX | The JSON has more objects, keys or values than a request may have. | Send fewer rows at a time, or one tensor for each column, or binary tensors.
BODY_TOO_LARGE | The body is over the size cap. | Send fewer rows at a time; operators can raise TENON_MAX_BODY_MIB.
BUILD_RUNNING | Another replica is building this feature view's online values. | Nothing to do: it is tried again.
BUNDLE_CORRUPT | A model bundle is not the archive it should be. | Train again; if it comes from a copy, copy it again.
BUNDLE_DIGEST_MISMATCH | A bundle's bytes are not those that were registered. | The file was changed or damaged after registration: restore the blob store from a copy, or release another version.
BUNDLE_FILE_MISSING | The bundle file of a pinned version cannot be read. | Check `bundle` in TENON_PREDICTOR_PINNED, and the file's rights.
BUNDLE_MANIFEST_INVALID | A bundle's manifest does not have the form this version of Tenon knows. | Upgrade the older of trainer and registry, and train again.
BUNDLE_MEMBER_MISSING | A bundle lacks a file that its manifest lists. | Train again.
BUNDLE_MEMBER_UNKNOWN | A bundle holds a file that its manifest does not list, so it is refused. | Train again; never add files to a bundle.
BUNDLE_MISMATCH | A bundle says another tenant, model or run than the call that sends it. | Send the bundle that belongs to the run.
BUNDLE_SIGNATURE_INVALID | A bundle's signature is not by the trainer's key. | Give registry and predictor the public key that belongs to the trainer's signing key (TENON_VERIFY_KEY_FILE).
BUNDLE_TOO_LARGE | A bundle is over the size cap. | Train a smaller model, or raise TENON_MAX_BUNDLE_MIB.
BUNDLE_WRONG_OWNER | A bundle of another tenant or model was offered to the predictor and refused. | Report it: this must not happen.
CANARY_IS_STABLE | The canary version is the stable one already. | Name another version as --canary.
CANARY_MISSING | There is a canary weight but no canary. | Add --canary VERSION, or leave --weight out.
CANARY_WEIGHT_INVALID | The canary's share is not between 0.1 and 99.9 percent in steps of 0.1. | Write a weight such as --weight 20.
CHUNK_EXPECTED | A client sent something else than bundle bytes after the header. | Only for people who write their own client of the registry: header first, then chunks.
CODE_UNKNOWN | There is no error code of this name. | `tenon explain` lists all of them.
COLUMN_DUPLICATE | The file's header names a column twice. | Rename or remove one of them.
COLUMN_MISSING | The file's header lacks a column of the data set's contract. | Add the column, or declare it `nullable: true`.
COLUMN_UNKNOWN | A column is named that the data set does not have. | Correct the name, declare the column, or set `extraColumns: ignore` for files.
COMMITS_INVALID | More commits of a lake table were to be gone back than are allowed. | Ask for fewer.
CONTENT_TYPE_UNSUPPORTED | An input says that its text is packed (base64, or each value as JSON), which is not unpacked. | Send the text itself, as BYTES; with MLServer's codecs: StringCodec.
CONTRACT_INCOMPATIBLE | A data set that has rows already cannot be changed in this way. | Change something else, or declare a new data set and load the files into it.
CORRECTIONS_UNAVAILABLE | The trainer could not ask monitor for experts' corrections. | Is monitor up? The run is tried again.
CREDENTIALS_DAMAGED | The file with the platform's keys cannot be read. | Restore credentials.json and keys/ of the data folder from a copy.
COVER_INVALID | The covers in a bundle, which its forest is explained by, are damaged. | Train again.
CSV_INVALID | The labels are not the CSV they should be. | Columns: prediction_id,value and perhaps known_at.
DATABASE_NOT_MIGRATED | A service runs, but its tables are not there yet: with TENON_MIGRATE_AT_START=false somebody else makes them. | Run `python -m services.<name> migrate` (the chart's migration Job); the service goes on by itself.
DATABASE_TOO_NEW | A newer program has taken something away from this service's database. | Run the newer program, or restore the backup from before its migration.
DATABASE_UNAVAILABLE | A service's database cannot be reached or is locked. | Check TENON_DATABASE_URL and that the database runs; ask again in a moment.
DATABASE_URL_INVALID | TENON_DATABASE_URL is not a URL of a database we know. | Write sqlite:////abs/path.db or postgresql+psycopg://USER@HOST/NAME.
DATASET_CHANGED | Somebody else changed the data set at the same moment. | Apply again.
DATASET_EMPTY | Nothing was ever loaded into the data set. | `tenon ingest DATASET FILE.csv`
DATATYPE_RAW_ONLY | This tensor datatype can only be sent as raw bytes. | Put it into raw_input_contents, or use another datatype.
DATATYPE_UNKNOWN | The tensor's datatype is not one of the protocol. | Use FP64, INT64, BOOL or BYTES.
DATA_MISSING | A tensor has no data. | Give `data` as a list.
DATA_SIZE | The number of bytes does not fit the shape, or bytes are left over. | Compare shape, datatype and length.
DATA_TWICE | A tensor has its data twice, in two forms. | Leave one of them out.
DEADLINE_EXCEEDED | A service did not answer in the time given. | Ask again; `tenon status` shows whether it is up.
DECLARED_TWICE | Two documents declare the same thing. | Rename one, or give each its own `tenant:`.
DISK_FULL | A service's disk has no space left; what it refused it did not store. | Make space in the platform's folder (`tenon doctor` shows where it is), then send it again.
DOCUMENT_NOT_FOUND | A document is named that is neither in the folder nor on the platform. | Correct the name, or add the document.
DEFINITIONS_CHANGED | The definitions changed while the model was trained on them. | Train again.
DOCUMENTS_INVALID | Something in the folder is wrong; each error is listed. | Correct them one by one; nothing was written.
DURATION_INVALID | This is not a duration. | Write a whole number and a unit: 30s, 15m, 2h, 90d, 2w, 1y.
EMPTY_FILE | The file is empty. | Was it still being written? Send it again when it is complete.
ENCODING_MISMATCH | The file is in another text encoding than the data set declares. | Save it as UTF-8, or declare `csv: {encoding: …}`.
ENCODING_UNKNOWN | The upload's Content-Encoding is not read. | Use gzip, or none.
ENCODING_UNSUPPORTED | The request's Content-Encoding is not read. | Use gzip, deflate, or none.
ENGINE_NOT_INSTALLED | A version is answered by ONNX Runtime, which this process does not have, so it is refused and what served before stays. | pip install 'tenon[onnx]' where the predictor runs, and start it again.
ENGINE_UNFIT | ONNX Runtime on this machine answers a row differently by its place among others, so the version is refused. | Install another version of onnxruntime (constraints.txt names a tested one), and report it.
ENTITIES_UNEVEN | The columns under `entities` have different numbers of values. | Send one value for each row in every column; null where a key is missing.
ENTITY_KEY_INVALID | The value of a key column is not of the column's type. | Send it as the data set declares it.
ENTITY_KEY_UNKNOWN | A key is named that no feature view uses. | Use the columns under `entity` of the view.
ENTITY_MISMATCH | A view's entity column does not fit the model's data set. | Choose another view, or add the column to the data set with the same type.
ENTITY_NOT_FOUND | The history of an entity was asked for that has no event. | Is the key spelled as in the data? With --from and --to its values are shown anyway: counts of 0, the rest missing.
EXPLAIN_TOO_MANY_ROWS | More rows than the predictor explains at once. | Ask in several calls, or without explain.
EXPLANATION_UNAVAILABLE | The version that answers cannot say what each input contributed. | Train and release a new version; ask without explain meanwhile.
EXPORT_NOT_INSTALLED | `tenon export` verifies bundles, for which the command alone has not all packages. | pip install 'tenon[export]'
FEATURES_ANSWER_INVALID | The features service did not give one value for each feature and row. | Bring monitor and features to the same version.
FEATURES_MISSING | A request to /get-online-features names no features. | Name them as view:feature; there are no feature services.
FEATURE_INVALID | A feature's name is not of the form view:feature. | Write the view, a colon and the feature.
FEATURE_TWICE | Two columns of an answer would have one name. | Leave one out, or ask with full_feature_names.
FEATURE_UNKNOWN | A view has no such feature. | `GET /v1/tenants/TENANT/feature-views/VIEW` lists them.
FIELD_COUNT | A row has more or fewer fields than the header. | Look for an unquoted delimiter in the row.
FIELD_TOO_LONG | A field of a row is longer than any sane value. | Look for a quote that is never closed.
FIELD_UNKNOWN | There is a field that is not read here. | Correct its name or leave it out.
FILE_CHANGED_STATE | The file was refused at the same moment as it was sent again. | Send it again.
FILE_EMPTY | The file holds no labels. | Columns: prediction_id,value and perhaps known_at.
FILE_EXISTS | A file is there already and would be written over. | Choose another folder, or --force.
FILE_NAME_INVALID | The upload has no usable file name. | Add ?name=visits.csv
FILE_TOO_LARGE | The file is over the size cap. | Send it as .gz, split it, or raise TENON_INGEST_MAX_FILE_MIB.
FILE_UNREADABLE | A file cannot be read as UTF-8 text. | Save it as UTF-8; check its rights.
FILE_UNWRITABLE | A file cannot be written. | Check the folder's rights and the space on the disk, or name another folder.
FOREST_INVALID | The forest in a bundle is damaged. | Train again.
FOREST_UNSUPPORTED | This kind of forest cannot be served by Tenon's evaluator. | Use the estimators that Tenon trains.
FORM_INVALID | A form of a web page cannot be read. | Load the page again.
FORM_NOT_OURS | A form came from another site, or was not made for this session. | Load the page again and send it from there.
GATES_FAILED | The version did not meet the gates of its model's document. | Train a better one, or release it all the same with --force.
GZIP_CORRUPT | The .gz file is not whole. | Send it again.
HASH_INVALID | This is not a sha256 in lower-case hex. | Copy the 64 characters as they are.
HEADER_INVALID | The file's header is not in the declared dialect. | Check delimiter and quotes under `csv:`.
HEADER_LENGTH_INVALID | Inference-Header-Content-Length does not fit the body. | It is the length of the JSON part, in bytes.
HEADER_MISSING | A registration did not begin with its header. | Only for people who write their own client of the registry.
HEAD_TIMEOUT | A request's head did not arrive in time. | Send it again; look at the network, or at proxies in between that are slow.
HEAD_TOO_LARGE | The request's headers are more than 100 or longer than 32 KiB together. | Send fewer or shorter headers; look for cookies that a proxy adds.
HISTORY_PARTIAL | A history feature was sent for some rows only. | Send it for all rows, or for none: then it is looked up.
HISTORY_UNAVAILABLE | An entity's history cannot be had, and the model's fallback ladder has no step that answers without it. | Ask again in a moment; look at features. To answer anyway, add a step to `fallback` in the Model document, and train.
HTTP_MALFORMED | What arrived is not HTTP/1.1. | Look at the client; perhaps it speaks TLS or HTTP/2 to a port that does not.
IDEMPOTENCY_KEY_INVALID | The idempotency key is too long or not printable. | Use a short text, such as a UUID.
ID_INVALID | A request's id is too long or not text. | Use a short text.
INCIDENT_NOT_FOUND | There is no such incident (or it is not yours). | `tenon incidents list --state all` shows them with their ids.
INCIDENT_NOT_OPEN | The incident is over, or part of another one. | `tenon incidents show INCIDENT` says which.
INPUTS_MISSING | The request has no inputs. | Send one tensor per column.
INPUT_MISSING | A column that the model needs was not sent. | Send it too: --set NAME=VALUE; GET /v2/models/MODEL of the predictor lists all inputs.
INPUT_NAME_MISSING | A tensor has no name. | Name it as the column.
INPUT_TWICE | A column was sent twice. | Leave one out.
INPUT_UNKNOWN | A column was sent that the model does not have. | Correct its name or leave it out; nothing is ignored in silence.
INSTANCES_MISSING | There are no instances to predict. | Send {"instances": [{"features": {"column": value}}]}.
INSTANCE_INVALID | An instance is not an object of column names and values. | Send {"entity": {…}, "features": {…}}.
INTERNAL | Something failed that nobody foresaw. | Look into the service's log for the request id, and report it.
JSON_INVALID | This is not valid JSON. | The place is line and column; the usual reasons are a trailing comma and single quotes.
KEY_FILE_INVALID | A key file does not hold an Ed25519 key in PEM form. | Point TENON_SIGNING_KEY_FILE to the private key and TENON_VERIFY_KEY_FILE to the public one.
KEY_FILE_UNREADABLE | A key file cannot be read. | Check its path and rights.
KEY_INVALID | The API key is not known, was revoked or has expired. | `tenon keys create --tenant NAME` makes a new one.
KEY_MISSING | No API key was sent. | Send the header `Authorization: Bearer KEY`.
KEY_NOT_FOUND | The tenant has no key of this id. | `tenon keys list --tenant NAME`
KEY_TWICE | A key stands twice in one JSON object, or a key column twice in one lookup, so what was meant cannot be known. | Send it once; the refusal names it.
KIND_WRONG | A document of another kind was sent to this address. | Each kind has its own address; `tenon apply` knows them.
LABELS_EMPTY | No labels were sent. | Send {"labels": [{"prediction_id": "…", "value": 1}]}.
LABELS_INVALID | The labels do not have the form they should have. | Columns: prediction_id,value and perhaps known_at.
LABELS_MEDIA_UNSUPPORTED | Labels are read as JSON or CSV only. | Set content-type to application/json or text/csv.
LABELS_TOO_MANY | Too many labels in one call. | Split them; `tenon labels` does so by itself.
LABEL_ALL_MISSING | No row has both a label and the time it became known. | Load data with labels, and check knownAt of the label's column.
LABEL_FROM_FUTURE | A label says it becomes known more than a day ahead. | Correct known_at (RFC 3339, UTC).
LABEL_INVALID | A label's prediction_id or value is not usable. | prediction_id is what the answer said; value is a number.
LABEL_KEY_INCOMPLETE | A label by entity lacks a part of the key. | Give every entity column that the message names.
LABEL_KEY_UNKNOWN | A label names an entity column by which the model is not asked. | The message lists those there are.
LABEL_NOT_BINARY | The model answers yes or no, and the label is neither 0 nor 1. | Send 1 where it is true, else 0.
LADDER_INVALID | A bundle's fallback ladder does not fit the rest of the bundle. | Train again; usually trainer and predictor are of different versions.
LAKE_BUSY | Another loader wrote to the same table. | A file is tried again by itself; an erasure has to be asked for again.
LAKE_COLUMN_MISSING | The data set's rows were loaded before a column was declared. | Load a file under the present definition.
LAKE_TYPE_UNEXPECTED | A column in the lake has another type than declared now. | Load the data set again under its present definition.
LAKE_UNAVAILABLE | The data set's table cannot be read. | Check TENON_BLOB_URL: ingest and features must see the same store.
LIMIT_INVALID | A limit is too large. | Ask for at most 500.
LINEAR_INVALID | The linear model in a bundle is damaged. | Train again.
LINE_TOO_LONG | A line is longer than any CSV's. | Is this a CSV file? Is a quote never closed?
LOAD_FAILED | The file could not be loaded after many attempts; it is kept. | Look for the batch's id in ingest's log, correct the cause, send the file again.
LOAD_TIMEOUT | The file is stored safely, but not loaded yet. | It goes on by itself; ingest the same file again to see how it ended.
LOOKUP_TOO_LARGE | Too many rows or views in one lookup. | Ask in several calls.
MANIFEST_UNREADABLE | Monitor cannot read a version's manifest. | Upgrade monitor to the version of trainer.
MATRIX_NEEDS_NUMBERS | A matrix was sent with text in it. | Send text as one tensor per column.
MATRIX_SHAPE | A matrix has another width than the model has columns. | Send one tensor per column, by name.
MESSAGE_INVALID | The bytes of a gRPC request are not a message of that method. | Make the client's stubs from this platform's protos, and call the method they belong to.
MIGRATION_FAILED | A migration of a service's database could not be applied; nothing was changed. | The message says what the database refused; put it right and run `python -m services.<name> migrate` again.
MODEL_ALWAYS_LOADED | The model may not be taken out of memory. | TENON_PREDICTOR_ALWAYS_LOADED names it; take it off and restart the predictor.
MODEL_LOADING | The model is on disk, is being loaded, and took longer than the request may wait. | Ask again in a moment; TENON_PREDICTOR_COLD_WAIT_MS says how long requests wait.
MODEL_UNAVAILABLE | The model is released, but its bundle cannot be loaded. | The message says why; it is tried again by itself. `tenon release show MODEL`, or `tenon release rollback MODEL`.
MODEL_NOT_FOUND | There is no such model, or none of it is served. | `tenon status` lists models; `tenon release set MODEL --stable 1` serves one.
MODEL_NOT_SEEN | Monitor has seen neither predictions nor labels of this model. | Ask for predictions first; they arrive within seconds.
MONITOR_NOT_FOUND | No Monitor document is declared for this model; it is watched with the defaults. | `tenon apply` with a Monitor document named like the model.
NAME_INVALID | The name has characters it may not have. | Use lower-case letters, digits and underscores, at most 63.
NAME_MISMATCH | The document's name is not the address's. | Use one name in both places.
NAME_TOO_LONG | The name is too long. | Use at most 100 characters.
NOT_CSV | The file is not CSV text (a spreadsheet, an archive, an image?). | Export it as CSV.
NOT_TENON | Something else answers at a service's address. | Correct the TENON_…_URL; `tenon doctor` shows what is used.
NOT_TEXT | The file's header is not text in the declared encoding. | Save the file as UTF-8, or declare `csv: {encoding: …}`.
NO_CANARY | There is no canary to promote. | `tenon release set MODEL --canary VERSION --weight 20` starts one.
NO_CANARY_ON_TRIAL | The model has no canary, no shadow, and no promoted version on probation. | `tenon release set MODEL --canary VERSION --weight 5 --auto`
NO_ONNX_FORM | A version's bundle has no ONNX form: it did not answer as the fitted pipeline does, or it was trained before there was one. | Look at `forms` in the version's manifest; train again, or export another version.
NO_SUCH_ARM | The release has no arm of this name. | `tenon release show MODEL` lists them.
NO_DOCUMENTS | There is no document to apply. | `tenon init example` makes a folder that works.
NO_EARLIER_RELEASE | There is nothing before this release to roll back to. | Name a revision with --to, or set a release.
NO_PLATFORM | No platform was found from here. | `tenon up` starts one; or set TENON_REGISTRY_URL and the others, and TENON_API_KEY.
NO_FEATURE_VALUES | Every feature of the model is missing in all training rows. | Load data that has values, or choose other features.
NO_ROWS | A file has only its header, or there are no rows to train on. | `tenon ingest DATASET FILE.csv` with a file that has rows.
NO_TEST_ROWS | No labelled row lies in the test period. | Change split.test or split.testFrom, or load newer data.
NO_VALID_ROWS | Not a single row of the file keeps the contract. | The message names the commonest reason; correct the file or the contract.
ONLINE_WRITES_LOST | Redis lost online feature values while they were written, as after a kill. | Nothing to do: the view is built again from the lake.
ONNX_INVALID | A bundle's model.onnx cannot be loaded, or does not take the columns of its pipeline. | Train again.
OPERATIONS_INVALID | An entry of the operations stream cannot be read. | It is set aside as a dead letter; usually predictor and monitor are of different versions.
OUTPUT_UNKNOWN | An output was asked for that the model does not have. | Ask for `probability` or `prediction`, and `prediction_id`.
OVER_SHARE | More of the tenant's requests wait than its share of a busy predictor. | Ask again after the time in Retry-After, on fewer connections; operators can add replicas.
PARAMETER_UNKNOWN | A query parameter is not read here. | Correct its name; the message lists those there are.
PARAMETER_UNSUPPORTED | A repository parameter would change what is served. | Leave it out: releases decide what is served.
PARITY_FAILED | The bundle does not answer exactly as the fitted model, so it was not registered. | Report it, with the model's document.
PARQUET_INVALID | A file of labels is not the Parquet it should be. | The message says what is wrong with it.
PATH_NOT_FOUND | There is nothing at this address. | /docs of the service lists its addresses; are command and services of the same version?
PINS_INVALID | TENON_PREDICTOR_PINNED names versions that cannot be served together. | One stable version for each model; a weight for each canary and arm.
PIPELINE_INVALID | The preprocessing in a bundle is damaged. | Train again.
PLATFORM_FILE_DAMAGED | The file that says where the platform is cannot be read. | `tenon down`, then `tenon up` writes it anew.
PLATFORM_ONLY | Only the platform's own services may do this. | Nothing to do: there is no need for it from outside.
PLATFORM_STOPPED | The platform of this folder is not running. | `tenon up`
POINTS_INVALID | A history was asked for at no moment, or at too many. | Ask for 1 to 1,000 points.
PORT_TAKEN | Another program listens on a port that was asked for. | Stop it, or choose others with --port-base.
PUSHED_ROW_INVALID | A pushed row is not what its data set declares; nothing of the push was taken. | The message names the row and the column; put it right and push all again.
PUSHES_WAITING | More pushed rows wait for their commit than are kept. | Ingest the rows as a file; or raise TENON_FEATURES_PUSHED_ROWS.
PUSH_TOO_LARGE | A push has too many rows, or one too long. | Push at most 1,000 rows at once, of 16 KiB of JSON each; or ingest a file.
PUSH_WITHOUT_VIEW | No feature view is made of the data set that rows were pushed for. | Apply a feature view first: `tenon apply -f DIR`.
QUEUE_UNAVAILABLE | The queue cannot be reached; the run is stored and goes on when it can. | Check Redis: `tenon status`.
QUOTA_CONCURRENCY | As many of the tenant's requests run at the same time as its quota allows. | Ask again in a moment, or use fewer connections; `quotas.concurrency` of the Tenant document.
QUOTA_REQUESTS | The tenant's quota of requests a second is used up. | Ask again after the time in Retry-After; `quotas.requestsPerSecond` of the Tenant document.
QUOTA_ROWS | The tenant's quota of rows a second is used up. | Ask again after the time in Retry-After; `quotas.rowsPerSecond` of the Tenant document.
QUOTES_MALFORMED | There is text after a closing quote. | Write a quote inside a value twice.
QUOTE_UNTERMINATED | A quote is opened and never closed. | Write a quote inside a value twice.
REASON_TOO_LONG | The reason of a release is too long. | Shorten it.
REDIS_MISSING | No Redis server was found for the embedded platform. | `pip install 'tenon[embedded]'`, or install redis-server.
REDIS_UNAVAILABLE | Redis cannot be reached. | `tenon status`; in production check TENON_REDIS_URL.
REGISTRY_STOPPING | The registry is about to end. | Nothing to do: clients connect again.
REGISTRY_UNAVAILABLE | The registry did not answer in time. | `tenon status`; what is served goes on meanwhile.
RELEASE_CHANGED | Somebody else changed the release since you looked. | Look at `tenon release history MODEL` and decide again.
RELEASE_INVALID | A release has a form this predictor does not know. | Upgrade the predictor to the registry's version.
RELEASE_NOT_FOUND | The model has no release. | `tenon release set MODEL --stable 1`
RELEASE_NOT_SERVED | The release is set, but not every replica serves it yet. | `tenon release show MODEL` says what each serves and why; `tenon release rollback MODEL` undoes it.
REPLICA_INVALID | A replica's name is empty or too long. | Only for people who write their own predictor.
REPORT_TOO_LARGE | A replica reports more models than one can have. | Only for people who write their own predictor.
RETRAINING_LEARNS_NOTHING | The Model document tests on everything from a fixed day on, so a new training would learn from the same rows as before. | Give split.test, a length before the last row, instead of split.testFrom.
RETRAINING_NOT_FOUND | There is no such retraining request. | `tenon retraining list` shows them with their ids.
RETRAINING_NOT_WAITING | The retraining request was started or dismissed already. | `tenon retraining list` shows its state; a new one comes after the cool-down, if there is still reason.
ROWS_TWICE | A lookup named its rows one by one and in columns. | Send `rows`, or `keys` with `at_micros`, not both.
ROWS_UNEVEN | The columns of a lookup have different numbers of texts or times, or a missing row is not there. | Send one text for each row in every column, and one time for all rows, one for each, or none.
TRAINER_NOT_KNOWN | This monitor knows no trainer, so it cannot start a training. | Set TENON_TRAINER_GRPC, or `tenon train MODEL`.
REQUEST_INVALID | The request does not have the form it should have. | The message names the field; /docs of the service shows the form.
REVIEW_DECIDED | This answer was reviewed already. | Go on to the next.
REVIEW_ITEM_NOT_FOUND | The prediction is not in the review queue. | Load the queue again.
REVIEW_NOTHING_TO_UNDO | The expert has decided nothing in this round. | Nothing to do.
REVIEW_NO_NAME | A decision needs the expert's name. | Give it as `by`, or sign in with it.
REVIEW_SIZE | A round of review is empty, too large or looks too far back. | Ask for 1 to as many answers as the message says.
REVISION_INVALID | This is not a revision's number. | Revisions count from 1; `tenon release history MODEL`.
REVISION_NOT_FOUND | There is no such revision. | `tenon release history MODEL` lists them.
ROLE_MISSING | A served version has no role. | Only for people who write their own predictor.
ROWS_DIFFER | The columns of a request have different numbers of rows. | Send every column with the same number of rows.
RUN_ID_INVALID | A run's id is empty or too long. | Only for people who write their own trainer.
RUN_NOT_FOUND | There is no such training run. | `tenon runs --tenant NAME`
RUN_TIMEOUT | The training run takes longer than the command waits; it goes on. | `tenon runs MODEL` shows how far it is.
SCOPES_MISSING | A key needs at least one scope. | --scopes predict,read,write
SCOPE_MISSING | The key may not do this. | Use a key with the scope: `tenon keys create --tenant NAME --scopes …`.
SCOPE_NOT_GRANTABLE | A key cannot give another key more than it may do itself. | Ask an operator to make the key.
SCOPE_UNKNOWN | There is no such scope. | Scopes: predict, read, write.
SELF_TEST_FAILED | A version did not answer a synthetic row, so it is not served. | Release another version; look at the predictor's log.
SERVICE_UNAVAILABLE | A service could not be asked by another one. | `tenon status` shows which is down; ask again in a moment.
SERVICE_UNKNOWN | The address of a service is not known. | Set TENON_…_URL for it.
SERVICE_UNREACHABLE | A service does not answer at its address. | The hint names its log or variable; `tenon doctor` checks everything.
SESSION_EXPIRED | The session of a web page has ended, or its key is no longer valid. | Sign in again.
SESSION_MISSING | A web page was asked for without a session. | Sign in with an API key at /pages/sign-in.
SHADOW_ANSWERS | The shadow version answers already. | Name another version as --shadow.
SHAPE_INVALID | A tensor's shape is not [n] or [n, 1]. | Send one tensor per column.
SIGNATURE_INVALID | A bundle's signature of inputs has a type this predictor does not know. | Upgrade the predictor.
SIZE_MISSING | A registration does not say the bundle's length. | Only for people who write their own client of the registry.
SKEW_ROUND_OVER | A round of looking for skew had no time left for the rest. | Nothing: the next round goes on.
SNOOZE_INVALID | The end of the snooze is missing, past, or more than 90 days away. | `tenon incidents snooze INCIDENT --for 2h`
SPEC_INVALID | A document (or a part of it) is not valid. | The place is file:line:column; `tenon schema KIND` gives editors the rules.
STABLE_MISSING | A release needs a stable version. | --stable VERSION
START_FAILED | A service did not start. | Its own words and its log file are named.
STOP_TIMEOUT | The platform did not stop in time. | Kill the supervisor's pid: everything else ends with it.
STOPPING | The service is about to end; the work goes on after its restart. | Nothing to do.
SUBJECT_INVALID | An erasure names somebody by a column that holds no names or numbers, or by a number that is none. | Name a string or integer column of the data set, and a value of it.
SUBJECT_MISSING | An erasure does not say who is to be forgotten. | Give `key` as one column of the log and its value, or `prediction_ids`.
TABLE_NOT_FOUND | The data set has no rows yet. | `tenon ingest DATASET FILE.csv`
TENANT_AMBIGUOUS | A request's path, host and headers name different tenants. | Leave out x-tenon-tenant where a gateway's path or host names the tenant.
TENANT_MISSING | An operator's key must say for which tenant it asks. | --tenant NAME; over HTTP the header `x-tenon-tenant: NAME`.
TENANT_NAME_INVALID | A tenant's name has characters it may not have. | Use 1-40 characters of a-z, 0-9 and inner hyphens.
TENANT_NAME_MISMATCH | The Tenant document's name is not the address's. | Use one name in both places.
TENANT_NOT_FOUND | There is no such tenant (or it is not yours). | `tenon status` lists them; `tenon apply` with a Tenant document makes one.
TEXT_NOT_UTF8 | A text value is not UTF-8. | Encode it as UTF-8.
TEXT_TOO_LARGE | A compressed file unpacks to more than the cap. | Split it.
TIME_INVALID | This is not a time. | Write it as 2024-03-01T08:30:00Z.
TIME_RANGE_INVALID | A span of time ends before it begins. | Swap `from` and `to`.
TIME_WITHOUT_OFFSET | A request's time does not say in which time zone it is. | End it in Z for UTC or in an offset: 2024-03-01T09:30:00+01:00.
TLS_FILE_INVALID | The files of the doors' certificate are not a PEM certificate and its key. | Make TENON_TLS_CERT_FILE the chain, the own certificate first, and TENON_TLS_KEY_FILE its private key, without a password.
TLS_FILE_UNREADABLE | A file of the doors' certificate cannot be read. | The message names it; check the mount and who may read it.
TOKEN_ALGORITHM | A JWT is signed in a way that is not allowed. | Have the issuer sign as TENON_JWT_ALGORITHMS says; symmetric signatures and none are never taken.
TOKEN_AUDIENCE | A JWT is meant for another audience. | Ask the issuer for a token whose `aud` is TENON_JWT_AUDIENCE.
TOKEN_EXPIRED | A JWT has expired. | Get a new one from the issuer.
TOKEN_INVALID | A JWT is damaged, too long, or lacks a claim. | Get a new one; it needs exp, iss and aud.
TOKEN_ISSUER | A JWT is of another issuer. | Get one from the issuer in TENON_JWT_ISSUER, spelt exactly so.
TOKEN_KEYS_INVALID | What the issuer publishes as its keys is no usable JSON Web Key Set. | Check TENON_JWT_JWKS; RSA keys need 2048 bits or more.
TOKEN_KEYS_UNAVAILABLE | A JWT cannot be checked, because the issuer's keys were never had. | Check TENON_JWT_JWKS and the way to the issuer; API keys go on working.
TOKEN_KEYS_UNREACHABLE | The issuer's keys cannot be fetched; those that are known go on being used. | Check TENON_JWT_JWKS and the way to the issuer.
TOKEN_KEY_UNKNOWN | A JWT is signed by a key that the issuer does not publish. | Get a new one; after a change of keys it may take some seconds.
TOKEN_MAKES_NO_KEYS | An issuer's token was shown to make an API key, which would outlive it. | Make keys with an API key, or ask the operator.
TOKEN_NOT_YET_VALID | A JWT's time has not come. | Set the clocks; TENON_JWT_LEEWAY_SECONDS says how far they may be apart.
TOKEN_SIGNATURE | A JWT's signature does not fit: it was changed, or signed by somebody else. | Get a new one from the issuer.
TOKEN_TENANT | A JWT names no tenant. | Have the issuer put the tenant's name into the claim TENON_JWT_TENANT_CLAIM.
TOO_FEW_TRAIN_ROWS | Too few rows are left for training before the test period and its gap. | Load more data, or change split.test or split.gap.
TOO_MANY_BAD_ROWS | More rows are bad than `maxBadRows` allows, so nothing was loaded. | Correct the file, or allow more.
TOO_MANY_CONNECTIONS | The service has as many open connections as it takes. | Close those that are not needed, or use a pool; operators can raise TENON_HTTP_CONNECTIONS.
TOO_MANY_ROWS | Too many rows in one request. | Ask in several requests.
TOO_MANY_WRITERS | Others kept changing the same thing at the same time. | Try again.
TRAINING_ONE_CLASS | All training rows have the same label. | Change label.above, or load more data.
TRAINING_SET_CHANGED | A training set is not the file that was promised. | Train again.
TRAINING_SET_ERASED | The training set that this state of the tables gives was made before, and erased, because rows of it were. | Commit the data set's next file, so that ingest knows the table as it is now; `tenon features training-sets` says what was erased.
TRAINING_SET_ELSEWHERE | Trainer and features use different blob stores. | Give both the same TENON_BLOB_URL.
TRAINING_SET_MISSING | A training set is not where it should be. | Give trainer and features the same TENON_BLOB_URL, and train again.
UPLOADS_BUSY | Too many bundles arrive at once. | Send this one again in a moment.
UPLOAD_CUT_OFF | The connection ended before the whole file had arrived; nothing was loaded. | Send it again.
USAGE | The command line is wrong. | `tenon COMMAND --help`
VALUE_MISSING | A value is missing in a column that must have one. | Send it, or declare the column `nullable: true` and train again.
VALUE_RANGE | A number is too large to be exact. | Send integers below 2^53, numbers below 3.4e38.
VALUE_TYPE | A value is of another type than its column. | Send it as declared; the message names column and row.
VALUE_UNKNOWN | A value is not one of those possible. | The message lists them.
VERDICT_INVALID | A verdict was reported without saying which. | Only for people who write their own judge of canaries: set `verdict`.
VERSION_INVALID | This is not a version's number. | Versions count from 1; `tenon versions MODEL`.
VERSION_NOT_FOUND | The model has no such version. | `tenon versions MODEL` lists them.
VERSION_NOT_SERVED | The version exists, but is not served now. | `tenon release set MODEL …` serves it.
VIEWS_MISSING | No feature view was named. | Name at least one.
VIEW_CHANGING | A view's definition is changing right now. | Ask again in a moment.
VIEW_NOT_BUILT | A view's online values are not there yet. | They are built within seconds; ask again.
VIEW_TWICE | A view was named twice. | Leave one out.
WATCHERS_FULL | Too many predictors follow one registry process. | Start another one, or raise TENON_MAX_WATCHERS.
WATCHES_TOO_MANY | Tenants' keys hold too many watches of releases at once. | End watches that are not needed; one stream carries all of a tenant's models.
WEBHOOKS_UNREADABLE | The file of webhooks cannot be read. | The message says where; the file is read again by itself.
WINDOW_EMPTY | The window ends before it begins. | Give --from before --to.
WORKER_LOST | The worker ended again and again while it trained this model. | Look into its log: often the machine ran out of memory.
YAML_INVALID | This is not valid YAML. | The place is file:line:column; indent with spaces, quote values with colons.
ABOVE_MAX | Quarantine: the number is above `max`. | Correct the row, or the contract.
BELOW_MIN | Quarantine: the number is below `min`. | Correct the row, or the contract.
DST_AMBIGUOUS | Quarantine: the local time occurs twice on the night the clocks go back. | Write times with an offset.
DST_GAP | Quarantine: the local time does not exist on the night the clocks go forward. | Write times with an offset.
KNOWN_AT_MISSING | Quarantine: a value is there, but not the time at which it became known. | Fill the column that knownAt names.
MISSING_VALUE | Quarantine: a value is missing in a column that must have one. | Fill it, or declare `nullable: true`.
NOT_BOOLEAN | Quarantine: not a boolean. | true/false, t/f, yes/no, y/n, 1/0.
NOT_DATE | Quarantine: not a date. | Write 2024-03-01.
NOT_DECIMAL | Quarantine: not a decimal number. | Write 12.50; no thousands separators.
NOT_FINITE | Quarantine: not a finite number. | NaN and infinities are not values; leave the field empty.
NOT_INTEGER | Quarantine: not a whole number. | 7.5 and 1e3 are refused on purpose.
NOT_IN_VALUES | Quarantine: the text is not one of `values`. | Correct the row, or add the value to the contract.
NOT_NUMBER | Quarantine: not a number. | Write 12.5; no thousands separators.
NOT_TIMESTAMP | Quarantine: not a time. | Write 2024-03-01T08:30:00Z.
NO_SUCH_DAY | Quarantine: the calendar has no such day. | Correct the row.
NUL_BYTE | Quarantine: the row holds a NUL byte. | Export the file again.
OUT_OF_RANGE | Quarantine: the value is beyond what its type can hold. | Correct the row.
PATTERN_MISMATCH | Quarantine: the text does not match `pattern`. | Correct the row, or the contract.
TIMESTAMP_WITHOUT_TIME | Quarantine: there is a day, but no time of day. | Declare the column as a date, or write the time.
TOO_LONG | Quarantine: the text is longer than `maxLength`. | Correct the row, or the contract.
TOO_MANY_DIGITS | Quarantine: the decimal has more digits after the point than its `scale`. | Round it where it comes from, or raise the scale.
UNDECODABLE_BYTES | Quarantine: the row has bytes that are not text in the declared encoding. | Save the file as UTF-8, or declare `csv: {encoding: …}`.
"""


def _read(table: str) -> dict[str, Explanation]:
    found = {}
    for line in table.strip().splitlines():
        code, meaning, remedy = (part.strip() for part in line.split(" | "))
        found[code] = Explanation(meaning, remedy)
    return found


EXPLANATIONS = _read(_TABLE)
"""Every code by name."""
