//! Remap rules, checked as rcl reads them, since rcl's own complaint is two lines about its source.

/// Why rcl would not take the rule `from:=to`.
pub(super) fn check(from: &str, to: &str) -> Result<(), String> {
    // `node:rule` is for one node of a process; `rostopic://` and `rosservice://` are for one kind of name.
    let from = match from.split_once(':') {
        Some((node, rest)) if !rest.starts_with("//") => {
            token(node)?;
            rest
        }
        _ => from,
    };
    let from = from.strip_prefix("rostopic://").or_else(|| from.strip_prefix("rosservice://")).unwrap_or(from);
    match from {
        "__node" | "__name" => token(to),
        "__ns" if to == "/" => Ok(()),
        "__ns" if !to.starts_with('/') => Err(format!("namespace '{to}' must begin with a slash")),
        _ => name(from).and_then(|()| name(to)),
    }
}

/// A topic or service: tokens between slashes, `/` or `~` first where it is absolute or private.
fn name(text: &str) -> Result<(), String> {
    let relative = text.strip_prefix("~/").or_else(|| text.strip_prefix('/')).unwrap_or(text);
    if relative == "~" {
        Ok(())
    } else {
        relative.split('/').try_for_each(token).map_err(|e| format!("{e} in '{text}'"))
    }
}

fn token(text: &str) -> Result<(), String> {
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '{' | '}');
    let named = !text.is_empty() && text.chars().all(usable) && !text.starts_with(|c: char| c.is_ascii_digit());
    if named { Ok(()) } else { Err(format!("name '{text}' must be letters, digits and _, and not begin with a digit")) }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_rcl_takes_passes_and_what_it_does_not_is_named() {
        for (from, to) in [
            ("scan", "front/scan"),
            ("/scan", "/robot1/scan"),
            ("~/state", "state"),
            ("rostopic://scan", "~/scan"),
            ("gate:__ns", "/robot1/left"),
            ("gate:scan", "scan2"),
            ("__ns", "/"),
            ("__node", "gate_2"),
        ] {
            assert_eq!(check(from, to), Ok(()), "{from}:={to}");
        }
        for (from, to, named) in [
            ("scan", "bad topic", "'bad topic'"),
            ("scan", "", "''"),
            ("scan", "/front//scan", "'/front//scan'"),
            ("scan", "2d/scan", "'2d'"),
            ("sc-an", "scan", "'sc-an'"),
            ("__ns", "robot1", "slash"),
            ("__ns", "/a b", "'a b'"),
            ("__node", "a/b", "'a/b'"),
            ("a b:scan", "scan", "'a b'"),
        ] {
            let reason = check(from, to).unwrap_err();
            assert!(reason.contains(named), "{from}:={to}: {reason}");
        }
    }
}
