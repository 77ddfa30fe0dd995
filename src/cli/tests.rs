use super::*;

fn help(words: &[&str]) -> String {
    let mut command = Cli::command();
    command.build();
    let mut here = &mut command;
    for word in words {
        here = here.find_subcommand_mut(word).unwrap();
    }
    here.clone().term_width(100).render_help().to_string()
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_names_every_command() {
    insta::assert_snapshot!(help(&[]));
}
