//! What operators rely on at the door itself: every way around a filter that the field is known for is refused there, every statement that
//! the original let through is, and nothing that it stopped for no reason. Each is a call over a real socket, by its name.

use serde_json::{Value, json};

use crate::support::house::House;

/// The call is refused, with this rule, and no target hears of it.
async fn refused(envelope: Value, rule: &str) {
    let house = House::open().await;
    let mut body = envelope;
    body["target"] = json!("get-embedding");
    let reply = house.call("gemini-chat").raw(body.to_string()).send().await.expect(403);
    let said = reply.json();
    assert_eq!(said["rule"], rule, "{said}");
    assert!(said["blocked_pattern"].as_str().is_some_and(|pattern| !pattern.is_empty()), "{said}");
    assert!(said["span"].as_array().is_some_and(|span| span.len() == 2), "{said}");
    assert_eq!(house.targets.received("get-embedding").len(), 0, "{said}");
}

/// The call reaches its target.
async fn passed(envelope: Value) {
    let house = House::plan().policy("schema.toml", "[schema]\nfail = 'open'\n").open().await;
    let mut body = envelope;
    body["target"] = json!("get-embedding");
    house.call("gemini-chat").raw(body.to_string()).send().await.expect(200);
    house.targets.received_once("get-embedding");
}

macro_rules! refused {
    ($($name:ident: $rule:literal, $sql:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            refused(json!({ "action": "execute", "payload": { "sql": $sql } }), $rule).await;
        })*
    };
}

macro_rules! passed {
    ($($name:ident: $sql:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            passed(json!({ "action": "execute", "payload": { "sql": $sql } })).await;
        })*
    };
}

macro_rules! hidden {
    ($($name:ident: $rule:literal, $envelope:tt;)*) => {
        $(#[tokio::test]
        async fn $name() {
            refused(json!($envelope), $rule).await;
        })*
    };
}

/// What the original let through.
mod missed_by_the_original {
    use super::*;

    refused! {
        delete_without_a_semicolon: "delete-without-where", "DELETE FROM users";
        delete_with_a_schema: "delete-without-where", "DELETE FROM public.users;";
        delete_of_a_quoted_name: "delete-without-where", "DELETE FROM \"users\";";
        delete_with_a_comment_before_the_semicolon: "delete-without-where", "DELETE FROM users -- x\n;";
        delete_where_true: "delete-without-where", "DELETE FROM users WHERE true;";
        drop_table_with_a_comment_for_a_blank: "drop-table", "DROP/**/TABLE users";
        update_without_where: "update-without-where", "UPDATE users SET role = 'admin'";
        drop_view: "drop-view", "DROP VIEW stats";
        drop_column: "drop-column", "ALTER TABLE users DROP COLUMN email";
        drop_role: "drop-role", "DROP ROLE app";
        grant_all: "grant", "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC";
        copy_to_program: "copy-program", "COPY (SELECT 1) TO PROGRAM 'sh'";
        dynamic_sql_in_a_do_block: "dynamic-sql", "DO $$ BEGIN EXECUTE 'DR'||'OP TABLE users'; END $$";
    }
}

/// What the original stopped for no reason, and what it was right to let pass.
mod stopped_by_the_original_for_no_reason {
    use super::*;

    passed! {
        a_literal_with_the_word_truncated: "select 'log truncated'";
        a_comment_with_drop_table: "SELECT 1 -- DROP TABLE users";
        a_literal_with_drop_table: "SELECT 'please DROP TABLE of contents'";
        delete_with_a_where: "DELETE FROM t WHERE id=1;";
        date_trunc: "SELECT date_trunc('day', created_at) FROM t";
    }
}

/// One lexer reads other than the other: how filters of this kind have been passed by.
mod ways_around_a_lexer {
    use super::*;

    refused! {
        comment_for_a_blank: "delete-without-where", "DELETE/**/FROM users";
        nested_comment: "drop-table", "DROP /* a /* b */ c */ TABLE users";
        comment_that_ends_with_a_carriage_return: "drop-table", "SELECT 1 --x\r; DROP TABLE users";
        quote_in_a_comment: "delete-without-where", "DELETE /* don't */ FROM users";
        where_in_a_comment: "delete-without-where", "DELETE FROM users -- WHERE id = 1";
        comment_opened_in_a_literal: "drop-table", "SELECT '/*'; DROP TABLE users; SELECT '*/'";
        backslash_before_a_quote: "drop-table", "SELECT '\\'; DROP TABLE users; --'";
        escape_string: "drop-table", "SELECT E'\\''; DROP TABLE users";
        escape_string_continued: "drop-table", "SELECT E'a'\n'\\''; DROP TABLE users";
        unicode_string: "drop-table", "SELECT U&'\\0041'; DROP TABLE users";
        unicode_name_with_uescape: "drop-table", "DROP TABLE U&\"!0075sers\" UESCAPE '!'";
        dollar_quote: "drop-table", "SELECT $q$ '; $q$; DROP TABLE users";
        name_that_ends_in_dollars: "drop-table", "SELECT 1 AS a$$; DROP TABLE users; --$$";
        quoted_name_with_a_quote: "drop-table", "SELECT 1 AS \"a'\"; DROP TABLE users; --";
        operator_before_a_comment: "drop-table", "SELECT 1 +/**/ 1; DROP TABLE users";
        form_feed_for_a_blank: "drop-table", "DROP\u{c}TABLE users";
        letters_of_other_scripts: "delete-without-where", "DELETE FROM müşteriler";
        statement_behind_another: "drop-table", "SELECT 1; DROP TABLE users";
        statement_behind_prose: "drop-table", "what's up; DROP TABLE users";
        literal_that_does_not_end: "unreadable", "SELECT 'a; DROP TABLE users";
    }
}

/// What a statement carries inside.
mod statements_in_statements {
    use super::*;

    refused! {
        cte: "delete-without-where", "WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x";
        cte_before_a_delete: "delete-without-where", "WITH x AS (SELECT 1) DELETE FROM users";
        explain_analyze: "delete-without-where", "EXPLAIN ANALYZE DELETE FROM users";
        prepare: "delete-without-where", "PREPARE p AS DELETE FROM users";
        cursor: "delete-without-where", "DECLARE c CURSOR FOR WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x";
        copy_of_a_query: "delete-without-where", "COPY (DELETE FROM users RETURNING *) TO STDOUT";
        create_table_as: "delete-without-where", "CREATE TABLE t AS WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x";
        do_block: "delete-without-where", "DO $$ BEGIN DELETE FROM users; END $$";
        function_body: "truncate", "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'TRUNCATE users'";
        where_of_constants: "delete-without-where", "DELETE FROM users WHERE 'a' = 'a'";
        where_or_true: "delete-without-where", "DELETE FROM users WHERE id = 7 OR NOT false";
        setting_that_turns_literals_around: "guard-setting", "SET standard_conforming_strings = off";
        setting_that_turns_triggers_off: "guard-setting", "SELECT set_config('session_replication_role', 'replica', false)";
    }
}

/// Where in a call a statement can stand.
mod places_in_a_call {
    use super::*;

    hidden! {
        operation_does_not_hide_sql: "drop-table", { "operation": "read", "payload": { "sql": "DROP TABLE users" } };
        sql_does_not_hide_query: "drop-table", { "payload": { "sql": "SELECT 1", "query": "DROP TABLE users" } };
        nested_object: "drop-table", { "operation": "run", "payload": { "params": { "statement": "DROP TABLE users" } } };
        array: "drop-table", { "operation": "batch", "payload": { "statements": ["SELECT 1", "DROP TABLE users"] } };
        array_of_pieces: "drop-table", { "payload": { "sql": ["DROP", "TABLE users"] } };
        array_of_pieces_of_words: "drop-table", { "payload": { "sql": ["DROP TA", "BLE users"] } };
        array_of_pieces_of_a_condition: "delete-without-where", { "payload": { "sql": ["DELETE FROM users WHERE id=1 ", "OR tr", "ue"] } };
        array_with_a_truth_value: "delete-without-where", { "payload": { "sql": ["DELETE FROM users WHERE id = 1 OR ", true] } };
        array_with_numbers: "delete-without-where", { "payload": { "sql": ["DELETE FROM users WHERE ", 1, "=", 1] } };
        upper_case_key: "drop-table", { "payload": { "SQL": "DROP TABLE users" } };
        json_in_a_string: "drop-table", { "payload": "{\"sql\": \"DROP TABLE users\"}" };
        json_in_json_in_a_string: "drop-table", { "payload": { "body": "{\"args\": \"{\\\"sql\\\": \\\"DROP TABLE users\\\"}\"}" } };
        json_string_in_a_string: "drop-table", { "payload": { "sql": "\"DROP TABLE users\"" } };
        json_string_in_a_string_of_any_name: "drop-table", { "payload": { "note": "\"\\\"DROP TABLE users\\\"\"" } };
        fenced_as_models_do: "drop-table", { "payload": { "sql": "```sql\nDROP TABLE users;\n```" } };
        fenced_behind_another: "delete-without-where", { "payload": { "query": " \n```\nSELECT 1\n```\nand then\n  ```sql\nDELETE FROM users\n```\nIt's done" } };
        ended_by_a_nul: "drop-table", { "payload": { "note": "DROP TABLE users;\0 and more" } };
        arguments_of_a_tool_call: "drop-table", { "payload": { "tool": "execute_sql", "arguments": { "query": "DROP TABLE users" } } };
    }

    #[tokio::test]
    async fn json_too_deep_in_strings_to_be_judged() {
        let house = House::open().await;
        let payload = (0..9).fold(json!({ "sql": "x; DROP TABLE users" }), |value, _| json!({ "data": value.to_string() }));
        assert_eq!(house.call("gemini-chat").to("get-embedding").payload(payload).send().await.expect(400).code(), "invalid_envelope");
        assert_eq!(house.targets.received("get-embedding").len(), 0);
    }

    #[tokio::test]
    async fn json_five_deep_in_strings() {
        let payload = (0..5).fold(json!({ "sql": "x; DROP TABLE users" }), |value, _| json!({ "data": value.to_string() }));
        refused(json!({ "payload": payload }), "drop-table").await;
    }

    #[tokio::test]
    async fn escapes_of_json() {
        let house = House::open().await;
        let body = r#"{"target":"get-embedding","payload":{"sql":"\u0044\u0052OP \u0054ABLE users"}}"#;
        assert_eq!(house.call("gemini-chat").raw(body.to_owned()).send().await.expect(403).json()["rule"], "drop-table");
    }

    #[tokio::test]
    async fn a_name_that_stands_twice_is_two_calls() {
        let house = House::open().await;
        let body = r#"{"target":"get-embedding","payload":{"sql":"SELECT 1","sql":"DROP TABLE users"}}"#;
        assert_eq!(house.call("gemini-chat").raw(body.to_owned()).send().await.expect(400).json()["code"], "ambiguous_body");
    }

    #[tokio::test]
    async fn literals_of_code() {
        let house = House::open().await;
        let payload = json!({ "code": "db.execute('DROP ' + 'TABLE users')" });
        let reply = house.call("gemini-chat").to("python-executor").payload(payload).send().await.expect(403);
        assert_eq!((&reply.json()["rule"], &reply.json()["pointer"]), (&json!("drop-table"), &json!("/payload/code")));
    }
}

/// What is no SQL, though it has its words.
mod prose {
    use super::*;

    passed! {
        question_in_a_field_for_sql: "What's the drop rate? Who's in?";
        sentence_that_begins_like_a_statement: "Drop table seven from the seating plan -- it's in the shared doc.";
        fenced_statements_without_harm: "```sql\nDELETE FROM users WHERE id = 1\n```\nIt's what you asked for; drop me a line.";
        statements_and_their_values: json!(["DELETE FROM users WHERE id = $1", 7, "UPDATE a SET b = ? WHERE c = ? AND d = 'x'", "y", true]);
        statements_one_after_the_other: json!(["DELETE FROM users WHERE id = 1", "DELETE FROM a WHERE b = c", "it's all"]);
        name_in_quotes: "\"users\"";
        quotation_of_a_statement: "Why is 'x; DROP TABLE users; y' dangerous?";
    }

    #[tokio::test]
    async fn chats_are_never_judged() {
        passed(json!({ "payload": { "messages": [{ "role": "user", "content": "DROP TABLE users" }], "prompt": "TRUNCATE users" } })).await;
    }

    #[tokio::test]
    async fn a_note_about_a_statement() {
        passed(json!({ "payload": { "note": "To start over: DROP TABLE users; it is safe." } })).await;
    }
}
