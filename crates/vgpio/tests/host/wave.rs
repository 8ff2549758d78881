//! Waveforms as they are drawn, against pictures of them that were looked at.
use std::fmt::Write;
use std::time::Duration;

use vgpio::wave::text::{Look, draw_with};
use vgpio::wave::{Wave, Window, json, svg, text};

/// Lines of every kind over two seconds: one that the guest blinks, a bouncing button, a PWM of 10 kHz for a quarter of a
/// second, one that changes hands, one that nobody uses, and one whose name is as bad as names can be.
fn recording() -> Wave {
    let mut vcd = "$timescale 1 us $end $scope module vgpio $end\n".to_owned();
    let names = ["led0", "button0", "pwm", "shared", "unused", "<a&\"b\">\u{7f}µ"];
    for (number, name) in names.iter().enumerate() {
        for (suffix, code) in [("", "l"), ("_out", "o"), ("_ext", "e")] {
            writeln!(vcd, "$var wire 1 {code}{number} {name}{suffix} $end").unwrap();
        }
    }
    vcd += "$upscope $end $enddefinitions $end\n#0\n";
    for number in 0..names.len() {
        writeln!(vcd, "xl{number} xo{number} 0e{number}").unwrap();
    }
    let mut changes = vec![(0, "0l1 1e1".to_owned()), (50_000, "0l3 0o3 0l0 1o0".to_owned())];
    changes.extend((0..8_u64).map(|beat| (100_000 + beat * 250_000, format!("{}l0", (beat + 1) % 2))));
    changes.extend(
        [600_000, 601_000, 601_500, 603_000, 604_000]
            .iter()
            .zip(0..)
            .map(|(at, n)| (*at, format!("{}l1", (n + 1) % 2))),
    );
    changes.push((500_000, "1e2 0l2".to_owned()));
    changes.extend(
        (0..2500_u64).flat_map(|n| [(600_000 + n * 100, "1l2".to_owned()), (600_025 + n * 100, "0l2".to_owned())]),
    );
    changes.extend([
        (800_000, "1l3 1e3".to_owned()),
        (1_200_000, "0l3 1o3".to_owned()),
        (1_600_000, "1l3 0o3".to_owned()),
    ]);
    changes.extend([(1_000_000, "1l5 1e5".to_owned()), (1_500_000, "xl5 0e5".to_owned())]);
    changes.sort_by_key(|(at, _)| *at);
    for (at, change) in changes {
        writeln!(vcd, "#{at} {change}").unwrap();
    }
    vcd += "#2000000\n";
    Wave::read(vcd.as_bytes()).unwrap()
}

fn narrow() -> Look {
    Look { width: 78, ..Look::default() }
}

#[test]
fn text_has_a_row_for_each_line_that_is_used() {
    let wave = recording();
    insta::assert_snapshot!(text::draw(&wave, &wave.window()));
}

#[test]
fn text_can_be_narrow_and_ascii() {
    let wave = recording();
    let text = draw_with(&wave, &wave.window(), Look { ascii: true, ..narrow() });
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn text_shows_a_part_of_some_lines() {
    let wave = recording();
    let lines = ["pwm", "button0"].map(|name| wave.find(name).unwrap()).to_vec();
    let window = Window { from: Duration::from_millis(600), to: Duration::from_micros(600_400), lines };
    insta::assert_snapshot!(draw_with(&wave, &window, narrow()));
}

#[test]
fn colours_tell_who_drives() {
    let wave = recording();
    let window = Window { lines: vec![wave.find("shared").unwrap()], ..wave.window() };
    let text = draw_with(&wave, &window, Look { colour: true, ..narrow() });
    insta::assert_snapshot!(text.replace('\u{1b}', "ESC"));
}

#[test]
fn every_width_has_rows_of_one_length() {
    let wave = recording();
    for width in (0..200).chain([10_000]) {
        let look = Look { width, ..Look::default() };
        let text = draw_with(&wave, &Window { lines: vec![0, 1, 4], ..wave.window() }, look);
        let edges: Vec<_> = text.lines().skip(2).map(|row| row.chars().take_while(|c| *c != '↑').count()).collect();
        assert!(edges.iter().all(|at| *at == edges[0]), "{text}");
        let widest = text.lines().map(|row| row.chars().count()).max().unwrap();
        assert!(widest <= width.max(50), "{width}:\n{text}");
    }
}

#[test]
fn empty_waveforms_are_drawn() {
    let empty = Wave::default();
    assert!(text::draw(&empty, &empty.window()).contains("(no lines)"));
    assert!(svg::draw(&empty, &empty.window()).contains("no lines"));
}

#[test]
fn picture_is_exact_where_it_can_be_and_small_where_it_cannot() {
    let wave = recording();
    let picture = svg::draw(&wave, &wave.window());
    // The 5000 edges of the PWM, and the bouncing of the button.
    assert_eq!(picture.matches("<rect class=\"block").count(), 2);
    insta::assert_snapshot!(picture);
}

#[test]
fn json_has_the_edges_of_each_line() {
    let wave = recording();
    let lines = ["button0", "shared", "unused"].map(|name| wave.find(name).unwrap()).to_vec();
    let window = Window { from: Duration::from_micros(600_500), to: Duration::from_millis(1300), lines };
    let text = json::write(&wave, &window).unwrap();
    insta::assert_snapshot!(text);
    let all: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.iter().map(|line| line["schema"] == json::SCHEMA).collect::<Vec<_>>(), [true; 3]);
    let pwm = Window { lines: vec![wave.find("pwm").unwrap()], ..wave.window() };
    let pwm: serde_json::Value = serde_json::from_str(&json::write(&wave, &pwm).unwrap()).unwrap();
    let rising = pwm["changes"].as_array().unwrap().iter().filter(|change| change["edge"] == "rising");
    assert_eq!(rising.count(), 2500, "nothing is summed up");
    assert_eq!(json::write(&Wave::default(), &Wave::default().window()).unwrap(), "");
}

#[test]
fn lines_are_found_as_the_world_calls_them() {
    let text = "$timescale 1 us $end $var wire 1 ! gpio1_led_0 $end $enddefinitions $end";
    let wave = Wave::read(text.as_bytes()).unwrap();
    assert_eq!(wave.find("gpio1:led 0"), Ok(0));
    let message = wave.find("led0").unwrap_err().to_string();
    assert_eq!(message, "There is no line \"led0\" in the waveform: it has gpio1_led_0");
}
