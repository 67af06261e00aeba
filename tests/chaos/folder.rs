//! Folders of migrations, made from a seed.
//!
//! Every statement that may run in a transaction leaves a line in `ledger`, which has no key: one that ran twice is seen.
//! Statements outside a transaction are such that the catalog can tell what became of them, but for one kind, which is
//! made on purpose to be left dirty and is written so that a person may clear it and let it run again.

use crate::choice::Choice;
use crate::harness::Folder;

/// A folder with what the judge has to know of it.
pub(crate) struct Made {
    pub(crate) folder: Folder,
    /// The versions, in order.
    pub(crate) versions: Vec<String>,
    /// Those that an interruption may leave dirty.
    pub(crate) may_be_dirty: Vec<String>,
    pub(crate) is_drizzle: bool,
}

/// What the workers' links allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Every worker reaches the server itself.
    Direct,
    /// At least one goes through a transaction pooler, which carries no settings for bare statements.
    Pooled,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Transaction,
    Slow,
    Index,
    OwnCommits,
    Pieces,
    Partition,
    Committing,
}

const SORTS: [Sort; 6] = [
    Sort::Transaction,
    Sort::Slow,
    Sort::Index,
    Sort::OwnCommits,
    Sort::Pieces,
    Sort::Partition,
];

struct Maker<'a> {
    choice: &'a mut Choice,
    link: Link,
    /// Tables that exist, by number.
    tables: usize,
    /// Index names that exist and may be dropped.
    indexes: Vec<String>,
    /// Partitions that are still attached.
    attached: Vec<String>,
    partitioned: usize,
    columns: usize,
    steps: usize,
    version: String,
}

/// Makes a folder.
pub(crate) fn make(choice: &mut Choice, link: Link) -> Made {
    let is_drizzle = choice.chance(30);
    let files = choice.number(6..=11);
    let mut maker = Maker {
        choice,
        link,
        tables: 0,
        indexes: Vec::new(),
        attached: Vec::new(),
        partitioned: 0,
        columns: 0,
        steps: 0,
        version: String::new(),
    };
    let mut texts = Vec::new();
    let mut may_be_dirty = Vec::new();
    for number in 0..files {
        maker.version = version(number, is_drizzle);
        let sort = maker.sort(number);
        if sort == Sort::Committing {
            may_be_dirty.push(maker.version.clone());
        }
        texts.push(maker.file(number, sort));
    }
    let versions = (0..files).map(|number| version(number, is_drizzle));
    Made {
        folder: folder(&texts, is_drizzle),
        versions: versions.collect(),
        may_be_dirty,
        is_drizzle,
    }
}

fn version(number: usize, is_drizzle: bool) -> String {
    if is_drizzle {
        format!("{number:04}_step")
    } else {
        format!("{:04}", number + 1)
    }
}

fn folder(texts: &[String], is_drizzle: bool) -> Folder {
    if !is_drizzle {
        let folder = Folder::empty();
        for (number, text) in texts.iter().enumerate() {
            folder.write(&format!("{:04}_step.sql", number + 1), text.as_bytes());
        }
        return folder;
    }
    let tags: Vec<String> = (0..texts.len())
        .map(|number| version(number, true))
        .collect();
    let entries: Vec<(&str, i64, &str)> = (1_700_000_000_000..)
        .step_by(1000)
        .zip(tags.iter().zip(texts))
        .map(|(when, (tag, text))| (tag.as_str(), when, text.as_str()))
        .collect();
    Folder::classic(&entries)
}

impl Maker<'_> {
    fn sort(&mut self, number: usize) -> Sort {
        if number == 0 {
            return Sort::Transaction;
        }
        if self.link == Link::Direct && self.choice.chance(8) {
            return Sort::Committing;
        }
        *self.choice.one(&SORTS)
    }

    fn file(&mut self, number: usize, sort: Sort) -> String {
        self.steps = 0;
        let mut text = match sort {
            Sort::Pieces => "-- schemagate: transaction=off\n".to_owned(),
            _ => String::new(),
        };
        if number == 0 {
            text.push_str("CREATE TABLE ledger (version text NOT NULL, step int NOT NULL);\n");
            text.push_str(&self.table());
        }
        let body = match sort {
            Sort::Transaction => self.plain_statements(2),
            Sort::Slow => self.slow(),
            Sort::Index => self.indexed(),
            Sort::OwnCommits => self.own_commits(),
            Sort::Pieces => self.pieces(),
            Sort::Partition => self.partition(),
            Sort::Committing => self.committing(),
        };
        text + &body
    }

    /// A line in the ledger.
    fn note(&mut self) -> String {
        self.steps += 1;
        format!(
            "INSERT INTO ledger VALUES ('{}', {});\n",
            self.version, self.steps
        )
    }

    fn sleep(&mut self, most: usize) -> String {
        let millis = self.choice.number(20..=most);
        format!("SELECT pg_sleep(0.{millis:03});\n")
    }

    /// Big enough that an index is not built in no time.
    fn table(&mut self) -> String {
        self.tables += 1;
        let (table, rows) = (self.tables, self.choice.number(1..=20) * 1000);
        format!(
            "CREATE TABLE t{table} (id int PRIMARY KEY, n int NOT NULL, note text);\n\
             INSERT INTO t{table} SELECT i, i % 7, 'row ' || i FROM generate_series(1, {rows}) i;\n"
        )
    }

    fn some_table(&mut self) -> String {
        format!("t{}", self.choice.number(1..=self.tables))
    }

    fn plain_statements(&mut self, least: usize) -> String {
        let count = self.choice.number(least..=least + 2);
        (0..count)
            .map(|_| {
                let statement = self.plain();
                statement + &self.note()
            })
            .collect()
    }

    /// A statement that would show if it ran twice.
    fn plain(&mut self) -> String {
        let table = self.some_table();
        match self.choice.number(0..=4) {
            0 => self.table(),
            1 => {
                self.columns += 1;
                format!(
                    "ALTER TABLE {table} ADD COLUMN c{0} int NOT NULL DEFAULT {0};\n",
                    self.columns
                )
            }
            2 => format!("UPDATE {table} SET n = n + 1 WHERE id <= 500;\n"),
            3 => format!(
                "INSERT INTO {table} (id, n) SELECT max(id) + 1, 0 FROM {table};\n\
                 COMMENT ON TABLE {table} IS 'after {}, step {}';\n",
                self.version, self.steps
            ),
            _ => self.sleep(80),
        }
    }

    fn slow(&mut self) -> String {
        let (before, sleep) = (self.plain() + &self.note(), self.sleep(700));
        before + &sleep + &self.note()
    }

    /// Statements outside a transaction.
    fn indexed(&mut self) -> String {
        let count = self.choice.number(1..=2);
        (0..count).map(|_| self.bare()).collect()
    }

    fn bare(&mut self) -> String {
        let table = self.some_table();
        match self.choice.number(0..=7) {
            0 if !self.indexes.is_empty() => {
                let at = self.choice.number(0..=self.indexes.len() - 1);
                let index = self.indexes.remove(at);
                format!("DROP INDEX CONCURRENTLY {index};\n")
            }
            1 if !self.indexes.is_empty() => {
                let index = self.choice.one(&self.indexes).clone();
                format!("REINDEX INDEX CONCURRENTLY {index};\n")
            }
            2 => format!("REINDEX TABLE CONCURRENTLY {table};\n"),
            3 => format!("VACUUM (ANALYZE) {table};\n"),
            // PostgreSQL makes up its name.
            4 => format!("CREATE INDEX CONCURRENTLY ON {table} (note);\n"),
            kind => {
                let index = format!("i{}_{}", self.version, self.indexes.len());
                let index = format!("{index}_{}", self.choice.number(1..=999_999));
                self.indexes.push(index.clone());
                match kind {
                    5 => format!("CREATE UNIQUE INDEX CONCURRENTLY {index} ON {table} (id, n);\n"),
                    6 => format!(
                        "CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {table} (lower(note));\n"
                    ),
                    _ => {
                        format!("CREATE INDEX CONCURRENTLY {index} ON {table} (n) WHERE n > 2;\n")
                    }
                }
            }
        }
    }

    fn own_commits(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.choice.number(1..=3) {
            let inner = self.plain_statements(1);
            let sleep = self.sleep(150);
            let commit = *self.choice.one(&["COMMIT", "END", "COMMIT AND NO CHAIN"]);
            text += &["BEGIN;\n", &inner, &sleep, commit, ";\n"].concat();
        }
        text
    }

    /// Several statements, some of which PostgreSQL would take in a transaction.
    fn pieces(&mut self) -> String {
        let mut text = String::new();
        if self.link == Link::Direct && self.choice.chance(40) {
            text.push_str("SET maintenance_work_mem = '8MB';\n");
        }
        for _ in 0..self.choice.number(2..=4) {
            let piece = if self.choice.chance(50) {
                self.bare()
            } else {
                self.plain()
            };
            text.push_str(&piece);
            let note = self.note();
            text.push_str(&note);
        }
        text
    }

    /// A partitioned table, then one partition after the other leaves it.
    fn partition(&mut self) -> String {
        if let Some(partition) = self.attached.pop() {
            let parent = partition.split('_').next().expect("a name").to_owned();
            return format!("ALTER TABLE {parent} DETACH PARTITION {partition} CONCURRENTLY;\n");
        }
        self.partitioned += 1;
        let parent = format!("p{}", self.partitioned);
        let mut text =
            format!("CREATE TABLE {parent} (id int NOT NULL) PARTITION BY RANGE (id);\n");
        for part in 0..2 {
            let partition = format!("{parent}_{part}");
            let created = format!(
                "CREATE TABLE {partition} PARTITION OF {parent} FOR VALUES FROM ({}) TO ({});\n\
                 INSERT INTO {parent} SELECT generate_series({0}, {0} + 99);\n",
                part * 100,
                part * 100 + 100
            );
            text += &created;
            self.attached.push(partition);
        }
        text + &self.note()
    }

    /// What the catalog cannot tell: a block that commits on its own. Running it again changes nothing.
    fn committing(&mut self) -> String {
        let (table, version) = (self.some_table(), &self.version);
        let step = |number: usize| {
            format!(
                "INSERT INTO ledger SELECT '{version}', {number} \
                 WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE version = '{version}' AND step = {number});"
            )
        };
        format!(
            "DO $$ BEGIN\n{} COMMIT;\nPERFORM pg_sleep(0.4);\nUPDATE {table} SET note = 'seen' WHERE id < 10; {} COMMIT;\nEND $$;\n",
            step(1),
            step(2)
        )
    }
}
