//! Who gets in where, as a whole, where a change is seen in review: `tests/data/rights.txt` must be what the route table
//! and the table of rights make. After a new route: `LAMPLIGHTER_ACCEPT=1 cargo test --test it rights::`, and look at the
//! difference.

use lamplighter::access::{Right, Role};
use lamplighter::daemon::FEATURES;
use lamplighter::http::route::Route;

/// Who gets in, in words.
fn who(right: Right) -> String {
    match right {
        Right::Public => "anybody".into(),
        Right::SignedIn => "who is signed in".into(),
        right => {
            let roles = [Role::Admin, Role::Operator, Role::Viewer, Role::Automation];
            let names: Vec<_> = roles.into_iter().filter(|r| r.may(right)).map(Role::name).collect();
            names.join(" ")
        }
    }
}

#[test]
fn the_golden_table_is_what_routes_and_rights_make() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rights.txt");
    let routes: Vec<&Route> = FEATURES.iter().flat_map(|f| f.routes.iter().chain(f.pages)).collect();
    let mut lines: Vec<_> = routes
        .iter()
        .map(|route| format!("{} {}: {}\n", route.path, route.method.name(), who(route.right)))
        .collect();
    lines.sort();
    let now = lines.concat();
    if std::env::var_os("LAMPLIGHTER_ACCEPT").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        golden == now,
        "tests/data/rights.txt is not what the tables make; see the top of this file"
    );
}
