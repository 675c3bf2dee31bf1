//! A server whose place another one took by a backup that is older than this client's keys.

use spa_keys::{LastAnswer, printable};

use crate::plan::Plan;

/// Names it as a cause of silence when this client has changed its keys since its enrolment and the
/// server has answered the present ones: from a wrong line or a wrong clock that is told apart.
pub(super) fn name_restore(plan: &Plan) -> Option<String> {
    let folder = plan.folder.as_ref().filter(|folder| folder.key_of(&plan.line).exists())?;
    let answered = LastAnswer::read(folder, &plan.host, &plan.line)?.last;
    let client = printable(&plan.line.name);
    let service = plan.line.services.first().map_or("SERVICE", |service| service.name.as_str());
    Some(format!(
        "the server was restored from a backup that is older than these keys, which it answered \
         until {answered:.0}; on the server: spa-server client remove {client}; spa-server invite \
         {client} --service {}; and here: spa join - --replace",
        printable(service)
    ))
}
