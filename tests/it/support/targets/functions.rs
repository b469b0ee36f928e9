//! The platform's functions, as their callers know them: the same members read, the same answers given.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};

use super::{Body, Received, whole};

/// What `agent-manager` remembers from call to call.
#[derive(Default)]
pub struct Memory {
    agents: Vec<Value>,
    tasks: Vec<Value>,
    decisions: Vec<Value>,
}

pub fn answer(call: &Received, memory: &mut Memory) -> Response<Body> {
    let body = serde_json::from_slice::<Value>(&call.body).unwrap_or_default();
    let outcome = match call.target.as_str() {
        "agent-manager" => agent_manager(&body, memory).map(|data| json!({"success": true, "data": data})),
        "github-integration" | "task-orchestrator" | "knowledge-manager" => by_action(&body),
        "schema-manager" => schema_manager(&body),
        "python-executor" => python_executor(&body),
        "multi-step-orchestrator" => multi_step(&body),
        "autonomous-code-fixer" => Ok(json!({"success": true, "message": "Fix queued", "received": body})),
        "openai-tts" => return speech(&body),
        chat if chat.ends_with("-chat") => return conversation(chat, &body),
        _ => return echo(call),
    };
    match outcome {
        Ok(body) => json(StatusCode::OK, &body),
        Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error})),
    }
}

pub fn json(status: StatusCode, body: &Value) -> Response<Body> {
    Response::builder().status(status).header(header::CONTENT_TYPE, "application/json").body(whole(body.to_string())).unwrap()
}

/// Sent as these pieces, with no announced length.
pub fn in_pieces(content_type: &str, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = stream::iter(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
    Response::builder().header(header::CONTENT_TYPE, content_type).body(StreamBody::new(frames).boxed_unsync()).unwrap()
}

type Outcome = Result<Value, String>;

fn agent_manager(body: &Value, memory: &mut Memory) -> Outcome {
    let data = body.get("data").ok_or("Cannot read properties of undefined (reading 'data')")?;
    let text = |name: &str| data[name].as_str().map(str::to_owned).ok_or_else(|| format!("{name} is required"));
    match body["action"].as_str() {
        Some("list_agents") => Ok(json!(memory.agents)),
        Some("spawn_agent") => {
            let id = format!("agent-{}", memory.agents.len() + 1);
            memory.agents.push(json!({"id": id, "name": text("name")?, "role": data["role"], "skills": data["skills"], "status": "IDLE"}));
            Ok(memory.agents[memory.agents.len() - 1].clone())
        }
        Some("update_agent_status") => {
            let (id, status) = (text("agent_id")?, text("status")?);
            let agent = find(&mut memory.agents, &id)?;
            agent["status"] = status.into();
            Ok(agent.clone())
        }
        Some("assign_task") => {
            let id = format!("task-{}", memory.tasks.len() + 1);
            text("title")?;
            let mut task = data.clone();
            task["id"] = id.into();
            task["status"] = "PENDING".into();
            memory.tasks.push(task.clone());
            Ok(task)
        }
        Some("update_task_status") => {
            let (id, status) = (text("task_id")?, text("status")?);
            let task = find(&mut memory.tasks, &id)?;
            task["status"] = status.into();
            task["stage"] = data["stage"].clone();
            Ok(task.clone())
        }
        Some("get_agent_workload") => {
            let id = text("agent_id")?;
            let tasks: Vec<_> = memory.tasks.iter().filter(|task| task["assignee_agent_id"] == id.as_str()).collect();
            Ok(json!({"agent_id": id, "current_workload": tasks.len(), "tasks": tasks}))
        }
        Some("delete_task") => {
            let id = text("task_id")?;
            find(&mut memory.tasks, &id)?;
            memory.tasks.retain(|task| task["id"] != id.as_str());
            Ok(json!({"deleted": id, "reason": data["reason"]}))
        }
        Some("request_assignment") => Ok(memory.tasks.iter().find(|task| task["status"] == "PENDING").cloned().unwrap_or_default()),
        Some("log_decision") => {
            memory.decisions.push(data.clone());
            Ok(json!({"logged": text("decision")?}))
        }
        Some("cleanup_duplicate_agents") => {
            let before = memory.agents.len();
            let mut names = std::collections::HashSet::new();
            memory.agents.retain(|agent| names.insert(agent["name"].clone()));
            Ok(json!({"removed": before - memory.agents.len()}))
        }
        action => Err(unknown_action(action)),
    }
}

fn find<'a>(rows: &'a mut [Value], id: &str) -> Result<&'a mut Value, String> {
    rows.iter_mut().find(|row| row["id"] == id).ok_or_else(|| format!("{id} not found"))
}

fn unknown_action(action: Option<&str>) -> String {
    format!("Unknown action: {}", action.unwrap_or("undefined"))
}

/// They read `{action, data}`, and know no call without an action.
fn by_action(body: &Value) -> Outcome {
    let action = body["action"].as_str().ok_or_else(|| unknown_action(None))?;
    Ok(json!({"success": true, "data": {"action": action, "received": body["data"]}}))
}

fn schema_manager(body: &Value) -> Outcome {
    match body["action"].as_str() {
        Some("validate") => validate(body["sql"].as_str().unwrap_or_default()),
        Some("validate_schema") => Ok(json!({"valid": true})),
        Some(_) => by_action(body),
        None => Err(unknown_action(None)),
    }
}

/// Knows every table but `missing`, and is at its wit's end with a `puzzle`.
fn validate(sql: &str) -> Outcome {
    match sql {
        puzzle if puzzle.contains("puzzle") => Err("Validation failed".to_owned()),
        missing if missing.contains("missing") => Ok(json!({"valid": false, "reason": "relation \"missing\" does not exist"})),
        _ => Ok(json!({"valid": true})),
    }
}

/// Code that begins with `raise` fails, as it would.
fn python_executor(body: &Value) -> Outcome {
    match body["code"].as_str() {
        None | Some("") => Err("No code provided".to_owned()),
        Some(code) if code.starts_with("raise") => Err(format!("Execution failed: {code}")),
        Some(code) => Ok(json!({"output": format!("ran {} characters", code.chars().count()), "exitCode": 0})),
    }
}

fn multi_step(body: &Value) -> Outcome {
    if !body["workflow"].is_object() {
        return Err("workflow is required".to_owned());
    }
    Ok(json!({"success": true, "workflow_id": "workflow-1", "status": "started"}))
}

/// One answer, or, with `stream: true`, the same as server-sent events.
fn conversation(name: &str, body: &Value) -> Response<Body> {
    let Some(last) = body["messages"].as_array().and_then(|messages| messages.last()) else {
        return json(StatusCode::BAD_REQUEST, &json!({"error": "messages is required"}));
    };
    let reply = format!("{name} heard: {}", last["content"].as_str().unwrap_or_default());
    if body["stream"] != true {
        return json(StatusCode::OK, &json!({"success": true, "response": reply}));
    }
    let words: Vec<String> = reply.split(' ').map(str::to_owned).collect();
    let events = words.into_iter().map(|word| format!("data: {}\n\n", json!({"delta": word})));
    in_pieces("text/event-stream", events.chain(["data: [DONE]\n\n".to_owned()]).map(Bytes::from))
}

/// Bytes of every value, as sound has them.
pub const SPEECH: [u8; 512] = {
    let mut bytes = [0; 512];
    let (mut n, mut value) = (0, 0_u8);
    while n < bytes.len() {
        bytes[n] = value;
        (n, value) = (n + 1, value.wrapping_add(1));
    }
    bytes
};

fn speech(body: &Value) -> Response<Body> {
    match body["text"].as_str() {
        None => json(StatusCode::BAD_REQUEST, &json!({"error": "text is required"})),
        Some(_) => Response::builder().header(header::CONTENT_TYPE, "audio/mpeg").body(whole(&SPEECH[..])).unwrap(),
    }
}

fn echo(call: &Received) -> Response<Body> {
    let content_type = call.headers.get(header::CONTENT_TYPE).cloned();
    let mut response = Response::new(whole(call.body.clone()));
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}
