//! The rows as a file, made page by page while it is sent: CSV for spreadsheets, JSON for programs.

use super::view::view;
use crate::access::Actor;
use crate::app::App;
use crate::audit::{self, Cursor, Filter, Row};
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::http::sse::{BATCH, Flow, Source};
use std::sync::Arc;

/// Media type of the one form (RFC 4180).
pub const CSV: &str = "text/csv; charset=utf-8";
/// And of the other: a list of the rows as the API shows them.
pub const JSON: &str = "application/json";

const HEAD: &str = "id,time,actor,via,ip,action,object,before,after,detail,request_id,client_request_id,mac\r\n";

/// Rows of one look.
const PAGE: usize = 200;

/// One download: where it is.
pub struct Export {
    app: Arc<App>,
    filter: Filter,
    is_json: bool,
    from: Option<Cursor>,
    /// Rows so far.
    rows: u64,
}

impl Export {
    /// From the newest row that fits.
    pub fn new(app: &Arc<App>, filter: Filter, is_json: bool) -> Export {
        Export {
            app: Arc::clone(app),
            filter,
            is_json,
            from: None,
            rows: 0,
        }
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &Row) -> Result<()> {
        if self.is_json {
            out.extend_from_slice(if self.rows == 0 { b"[\n" } else { b",\n" });
            serde_json::to_writer(&mut *out, &view(row)).map_err(Error::internal)?;
        } else {
            if self.rows == 0 {
                out.extend_from_slice(HEAD.as_bytes());
            }
            let (seq, at, mac) = (row.seq.to_string(), rfc3339(row.at), text::hex(row.mac()));
            let cells = [
                &seq,
                &at,
                &row.actor,
                &row.via,
                &row.ip,
                &row.action,
                &row.object,
                &row.before,
                &row.after,
                &row.detail,
                &row.request_id,
                &row.client_request_id,
                &mac,
            ];
            for (n, text) in cells.into_iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                text::csv_cell(out, text);
            }
            out.extend_from_slice(b"\r\n");
        }
        self.rows += 1;
        Ok(())
    }

    fn end(&self, out: &mut Vec<u8>) {
        match (self.is_json, self.rows) {
            (true, 0) => out.extend_from_slice(b"[]\n"),
            (true, _) => out.extend_from_slice(b"\n]\n"),
            (false, 0) => out.extend_from_slice(HEAD.as_bytes()),
            (false, _) => {}
        }
    }
}

impl Source for Export {
    fn fill(&mut self, _: &Actor, out: &mut Vec<u8>) -> Result<Flow> {
        while out.len() < BATCH {
            let page = (self.app.db).read(|conn| audit::page(conn, &self.filter, self.from, PAGE))?;
            for row in &page.rows {
                self.row(out, row)?;
            }
            self.from = page.next;
            if page.next.is_none() {
                self.end(out);
                return Ok(Flow::End);
            }
        }
        Ok(Flow::More)
    }

    fn moved(&self) -> u64 {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_text_to_every_spreadsheet() {
        let of = |text: &str| {
            let mut out = Vec::new();
            text::csv_cell(&mut out, text);
            String::from_utf8(out).unwrap()
        };
        for (text, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1),2", "\"'@SUM(A1),2\""),
            ("-5", "'-5"),
            ("+7", "'+7"),
            ("\tx", "'\tx"),
            ("a\r\nb", "\"a\r\nb\""),
            ("", ""),
        ] {
            assert_eq!(of(text), written);
        }
    }
}
