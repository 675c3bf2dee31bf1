//! The state on the screen. Anything may be too small: then less is seen, from the bottom up.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Sparkline, Table, TableState};
use spa_keys::printable;

use super::super::table::{count, time};
use super::state::{Row, TopState};
use spa_keys::duration;

/// Lines of warnings, and of the noise, where there is room for them.
const WARNING_LINES: u16 = 4;
const NOISE_LINES: u16 = 3;
/// Below this height the noise is left out.
const NOISE_MIN_HEIGHT: u16 = 16;

struct Look {
    plain: bool,
}

impl Look {
    fn colour(&self, colour: Color) -> Style {
        if self.plain { Style::new() } else { Style::new().fg(colour) }
    }

    fn header_style(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn warning(&self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &TopState, plain: bool) {
    let look = Look { plain };
    let area = frame.area();
    let warnings = state.warnings();
    let warned = u16::try_from(warnings.len()).unwrap_or(u16::MAX).min(WARNING_LINES);
    let noise = if area.height < NOISE_MIN_HEIGHT { 0 } else { NOISE_LINES };
    let bans =
        u16::try_from(state.bans.len()).unwrap_or(u16::MAX).saturating_add(2).min(area.height / 3);
    let parts = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(warned),
        Constraint::Length(noise),
        Constraint::Min(3),
        Constraint::Length(bans),
        Constraint::Length(1),
    ])
    .split(area);
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    frame.render_widget(Paragraph::new(make_header(state, &look)), part(0));
    let lines: Vec<Line<'_>> = warnings
        .iter()
        .take(usize::from(warned))
        .map(|text| Line::styled(format!("! {text}"), look.warning()))
        .collect();
    frame.render_widget(Paragraph::new(lines), part(1));
    let seconds: Vec<u64> = state.noise.iter().copied().collect();
    let line = Sparkline::default().data(seconds.as_slice()).style(look.colour(Color::Cyan));
    frame.render_widget(line, part(2));
    grants(frame, part(3), state, &look);
    bans_list(frame, part(4), state, &look);
    frame.render_widget(Paragraph::new(make_footer(state, &look)), part(5));
}

fn make_header<'a>(state: &TopState, look: &Look) -> Vec<Line<'a>> {
    let Some(status) = &state.answer else {
        return vec![Line::raw("asking the server …")];
    };
    let lost = status.packets.lost;
    let noise = state.noise.front().copied().unwrap_or(0);
    vec![
        Line::from(vec![
            Span::styled(
                format!("spa-server {}", printable(&status.server_version)),
                look.header_style(),
            ),
            Span::raw(format!(
                "  up {}  {}  {}  {}  {}",
                time(status.up_s),
                printable(&status.backend),
                count(status.clients, "client"),
                count(state.grants.len() as u64, "grant"),
                count(status.bans, "ban"),
            )),
        ]),
        Line::raw(format!("knocks {:.1}/s  noise {noise}/s  lost {lost}", state.knocks)),
    ]
}

fn grants(frame: &mut Frame<'_>, area: Rect, state: &TopState, look: &Look) {
    let left =
        |row: &Row| duration::format(std::time::Duration::from_secs(state.left(row).as_secs()));
    let rows = state.grants.iter().map(|row| {
        let [client, service, source, used] =
            [0, 1, 2, 3].map(|at| row.cells.get(at).cloned().unwrap_or_default());
        let style =
            if state.left(row).as_secs() < 60 { look.colour(Color::Yellow) } else { Style::new() };
        TableRow::new([client, service, source, left(row), used, row.name.clone()].map(Cell::from))
            .style(style)
    });
    let widths = [
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Fill(4),
        Constraint::Length(9),
        Constraint::Length(5),
        Constraint::Length(7),
    ];
    let heads = ["CLIENT", "SERVICE", "SOURCE", "LEFT", "USED", "GRANT"];
    list(frame, area, rows.collect(), &heads, &widths, state.selected_index(&state.grants), look);
}

fn bans_list(frame: &mut Frame<'_>, area: Rect, state: &TopState, look: &Look) {
    let left =
        |row: &Row| duration::format(std::time::Duration::from_secs(state.left(row).as_secs()));
    let rows =
        state.bans.iter().map(|row| TableRow::new([row.name.clone(), left(row)].map(Cell::from)));
    let widths = [Constraint::Fill(1), Constraint::Length(12)];
    list(
        frame,
        area,
        rows.collect(),
        &["BANNED", "LEFT"],
        &widths,
        state.selected_index(&state.bans),
        look,
    );
}

fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    rows: Vec<TableRow<'_>>,
    heads: &[&'static str],
    widths: &[Constraint],
    selected: Option<usize>,
    look: &Look,
) {
    let head = TableRow::new(heads.iter().map(|head| Cell::from(*head))).style(look.header_style());
    let table = Table::new(rows, widths.iter().copied())
        .header(head)
        .highlight_symbol("> ")
        .highlight_spacing(ratatui::widgets::HighlightSpacing::Always)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut at = TableState::default().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut at);
}

fn make_footer<'a>(state: &TopState, look: &Look) -> Line<'a> {
    if let Some(asked) = &state.asked {
        let whose = state
            .grants
            .iter()
            .find(|grant| grant.name == *asked)
            .map(|grant| grant.cells.join(" "));
        let text = format!("close {asked} ({})? y/n", whose.unwrap_or_default());
        return Line::styled(text, look.warning());
    }
    match state.message() {
        Some(words) => Line::styled(printable(words).to_string(), look.header_style()),
        None => Line::raw("arrows select   c close the grant   u lift the ban   q quit"),
    }
}
