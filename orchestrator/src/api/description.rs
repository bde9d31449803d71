//! `/openapi.json`: what the handlers say of themselves, completed and held to.
//!
//! Every refusal is a problem, so that is said once here. Query parameters that the description does not name are
//! refused, so that description and behaviour cannot differ and a typo cannot list everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use lode_program::Problem;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Schema, Type};

/// What the handlers' own descriptions begin with.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Lode orchestrator",
        description = "Tasks, nodes and the pool.\n\nEvery refusal is an RFC 9457 problem with a stable `code` (docs/errors.md). Unknown query parameters and unknown fields of bodies are refused. Lists come in pages: `next` of one is `after` of the following."
    ),
    components(schemas(lode_api_types::Problem)),
    modifiers(&Token),
    security(("token" = [])),
    tags(
        (name = "tasks", description = "What runs"),
        (name = "nodes", description = "Where it runs"),
        (name = "pool", description = "The whole, and what happens in it"),
        (name = "settlement", description = "What anybody may check, without a token")
    )
)]
pub(super) struct Description;

struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, openapi: &mut OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description =
            Some("The token in the file that the orchestrator names at its start.".to_owned());
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [
        (Method::GET, get),
        (Method::PUT, put),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::PATCH, patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// What a status means where a handler does not say it.
fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request cannot be read",
        401 => "No valid token",
        404 => "There is no such thing",
        409 => "In conflict with the present state",
        413 => "Too large",
        415 => "Not JSON",
        422 => "Can never be done",
        500 => "Something is wrong with the orchestrator",
        503 => "Not now",
        _ => "Refused",
    }
}

/// What may be left out of a query or a header cannot be null there.
fn without_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::OneOf(mut choice)) => {
            choice
                .items
                .retain(|item| !matches!(item, RefOr::T(Schema::Object(item)) if item.schema_type == NULL));
            match (choice.items.pop(), choice.items.is_empty()) {
                (Some(only), true) => only,
                (last, _) => {
                    choice.items.extend(last);
                    RefOr::T(Schema::OneOf(choice))
                }
            }
        }
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|of| *of != Type::Null);
                if let [only] = types.as_slice() {
                    object.schema_type = SchemaType::Type(only.clone());
                }
            }
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}

const NULL: SchemaType = SchemaType::Type(Type::Null);

/// Says of every refusal that it is a problem, and of every operation that anything can go wrong.
pub(super) fn complete(openapi: &mut OpenApi) {
    for item in openapi.paths.paths.values_mut() {
        for (_, operation) in operations(item) {
            for parameter in operation.parameters.iter_mut().flatten() {
                let RefOr::T(parameter) = parameter else { continue };
                parameter.schema = parameter.schema.take().map(without_null);
            }
            operation
                .responses
                .responses
                .entry("500".to_owned())
                .or_insert_with(|| RefOr::T(Default::default()));
            for (status, response) in &mut operation.responses.responses {
                let (Ok(status), RefOr::T(response)) = (status.parse::<StatusCode>(), response) else {
                    continue;
                };
                if !(status.is_client_error() || status.is_server_error()) {
                    continue;
                }
                if response.description.is_empty() {
                    meaning(status).clone_into(&mut response.description);
                }
                let problem = Content::new(Some(Ref::from_schema_name("Problem")));
                response.content.insert("application/problem+json".to_owned(), problem.into());
            }
        }
    }
}

/// The query parameters of every operation.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownParameters(Arc<BTreeMap<(String, String), Vec<String>>>);

impl KnownParameters {
    /// All that a description names.
    pub(super) fn of(openapi: &OpenApi) -> Self {
        let mut known = BTreeMap::new();
        for (path, item) in &openapi.paths.paths {
            for (method, operation) in operations(&mut item.clone()) {
                let names = operation
                    .parameters
                    .iter()
                    .flatten()
                    .filter_map(|parameter| match parameter {
                        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
                            Some(parameter.name.clone())
                        }
                        RefOr::T(_) | RefOr::Ref(_) => None,
                    })
                    .collect();
                known.insert((path.clone(), method.to_string()), names);
            }
        }
        KnownParameters(Arc::new(known))
    }
}

/// Refuses parameters that the description does not name.
pub(super) async fn refuse_unknown_parameters(
    State(known): State<KnownParameters>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let known = known.0.get(&(path.as_str().to_owned(), method.to_string()));
    // A query that is no list of pairs is refused by whoever reads it.
    let given = Query::<Vec<(String, String)>>::try_from_uri(request.uri()).map(|Query(pairs)| pairs);
    let (Some(known), Ok(given)) = (known, given) else { return next.run(request).await };
    let Some((unknown, _)) = given.into_iter().find(|(name, _)| !known.contains(name)) else {
        return next.run(request).await;
    };
    let unknown: String = unknown.chars().take(80).collect();
    let remedy = match known.as_slice() {
        [] => "This path takes no parameters.".to_owned(),
        names => format!("There is: {}.", names.join(", ")),
    };
    Problem::new(StatusCode::BAD_REQUEST, "api/unknown-parameter", "There is no such query parameter")
        .detail(format!("{unknown:?} is not known here."))
        .remedy(remedy)
        .field("parameter", unknown)
        .field("known", known.clone())
        .into_response()
}
